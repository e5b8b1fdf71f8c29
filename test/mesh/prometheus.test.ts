// What proxies export, as Prometheus reads it: its own checker finds nothing, and its own server scrapes
// both formats.

import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";
import { tempDir } from "../support/temp-dir.ts";
import { allow, pod, profile, service, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const PROMTOOL = "/usr/bin/promtool";
const PROMETHEUS = "/usr/bin/prometheus";
const missing = existsSync(PROMTOOL) && existsSync(PROMETHEUS)
  ? null
  : "Prometheus is not installed (tools/setup-debian)";
const NET = loopbackNet(108);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const VOTE: MeshPod = { name: "vote", app: "vote", ip: `${NET}.3`, ports: [8080] };
/** May not call the vote service. */
const LOAD: MeshPod = { name: "load", app: "load", ip: `${NET}.4`, ports: [] };
const PODS = [WEB, VOTE, LOAD];

let mesh: TestMesh;
test.before(async () => {
  if (missing !== null) return;
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("vote", VOTE.ip, "vote"),
        pod("load", LOAD.ip, "load"),
        ...service("vote", `${NET}.103`, { vote: VOTE.ip }),
        // The same pod by a service whose routes are those of a profile.
        ...service("polls", `${NET}.104`, { vote: VOTE.ip }),
        profile("polls", { retryRatio: 0.2, minRetriesPerSecond: 10, ttl: "10s" }),
        ...allow("vote", "http", "HTTP/1", ["web"]),
      ),
    },
    pods: PODS,
  });
  await mesh.serve(VOTE.ip, 8080, ({ path }) => ({ status: path === "/bad" ? 503 : 200 }));
  for (const path of ["/", "/bad", "/"]) {
    await mesh.call(WEB, `http://vote.shop.svc.cluster.local:8080${path}`);
  }
  await mesh.call(WEB, "http://nobody.shop.svc.cluster.local:8080/");
});
test.after(() => mesh?.end());

const scrape = (one: MeshPod, accept: string) =>
  fetch(`http://${one.ip}:4191/metrics`, { headers: { accept } }).then((r) => r.text());

/** Names that are Linkerd's, with the unit that it chose: dashboards ask for them. */
const LINKERDS =
  /^(route_|control_)?response_latency_ms metric names should not contain abbreviated units$/;

testUnless(
  missing,
  test,
  "promtool finds nothing but Linkerd's names in what proxies export",
  async () => {
    for (const one of [WEB, VOTE]) {
      const input = await scrape(one, "text/plain");
      const { status, stdout, stderr } = spawnSync(PROMTOOL, ["check", "metrics"], {
        input,
        encoding: "utf8",
        timeout: 20_000,
      });
      const found = `${stdout}${stderr}`.split("\n").filter((l) => l !== "" && !LINKERDS.test(l));
      assert.equal(found, [], one.name);
      // 3: something was found, which were the names; 1 would be a document that cannot be read.
      assert.ok(status === 0 || status === 3, `${one.name}: exit status ${status}`);
      assert.match(input, "response_total{");
    }
  },
);

testUnless(missing, test, "docs/METRICS.md names every family that proxies export", async () => {
  await traffic();
  const docs = await readFile(new URL("../../docs/METRICS.md", import.meta.url), "utf8");
  for (const one of PODS) {
    const names = (await scrape(one, "text/plain")).matchAll(/^# TYPE (\S+) /gm);
    for (const [, name = ""] of names) {
      assert.ok(docs.includes(`\`${name}\``), name);
    }
  }
});

/** A Prometheus that scrapes the proxies as viz does: the target's labels are those of the pod. */
async function withPrometheus(use: (api: Api) => Promise<void>): Promise<void> {
  await using dir = await tempDir("prometheus");
  const port = await freePort();
  const config = join(dir.path, "prometheus.yml");
  await mkdir(join(dir.path, "data"));
  await writeFile(
    config,
    [
      "global: { scrape_interval: 1s, scrape_timeout: 1s }",
      "scrape_configs:",
      "  - job_name: linkerd-proxy",
      "    static_configs:",
      ...PODS.map(({ name, app, ip }) =>
        `      - { targets: ["${ip}:4191"], labels: { namespace: shop, pod: ${name}, deployment: ${app} } }`
      ),
    ].join("\n"),
  );
  const child = spawn(PROMETHEUS, [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(dir.path, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--enable-feature=exemplar-storage",
    "--log.level=error",
  ], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => said += String(chunk));
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const get = async (path: string, query: Readonly<Record<string, string>>) => {
    const url = `http://127.0.0.1:${port}/api/v1/${path}?${new URLSearchParams(query)}`;
    return (await fetch(url).then((r) => r.json())) as { data?: unknown };
  };
  try {
    await use({
      async query(expression) {
        const { data } = await get("query", { query: expression });
        return (data as { result?: QueryRow[] } | undefined)?.result ?? [];
      },
      async exemplars(query) {
        const end = String(Date.now() / 1000 + 60);
        const { data } = await get("query_exemplars", { query, start: "0", end });
        return data as ExemplarRow[] ?? [];
      },
      said: () => said.slice(-300),
    });
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}

interface QueryRow {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}
interface ExemplarRow {
  readonly seriesLabels: Readonly<Record<string, string>>;
  readonly exemplars: readonly { readonly labels: { readonly trace_id?: string } }[];
}
interface Api {
  query(expression: string): Promise<readonly QueryRow[]>;
  exemplars(query: string): Promise<readonly ExemplarRow[]>;
  said(): string;
}

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const VOTE_URL = "http://vote.shop.svc.cluster.local:8080";

/** Some of everything that the queries look at. */
async function traffic(): Promise<void> {
  const headers = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` };
  await mesh.call(WEB, `${VOTE_URL}/`, { headers });
  await mesh.call(WEB, `${VOTE_URL}/bad`);
  await mesh.call(WEB, "http://polls.shop.svc.cluster.local:8080/");
  await mesh.call(LOAD, `${VOTE_URL}/`);
}

const RATE = "[1m]";
/** The queries of `linkerd viz`, and labels that some row of the answer must have with a value over 0. */
const QUERIES: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
  [
    "stat deploy",
    `sum(increase(response_total{direction="inbound",namespace="shop"}${RATE})) by (namespace, deployment, classification, tls)`,
    { deployment: "vote", classification: "failure", tls: "true" },
  ],
  [
    "stat deploy, latency",
    `histogram_quantile(0.95, sum(irate(response_latency_ms_bucket{direction="inbound",deployment="vote"}${RATE})) by (le, deployment))`,
    { deployment: "vote" },
  ],
  [
    "stat deploy --to",
    `sum(increase(response_total{direction="outbound",deployment="web",dst_deployment="vote"}${RATE})) by (deployment, classification, tls)`,
    { deployment: "web", classification: "success", tls: "true" },
  ],
  [
    "stat deploy --from",
    `sum(increase(response_total{direction="outbound",deployment="web"}${RATE})) by (dst_namespace, dst_deployment, classification, tls)`,
    { dst_namespace: "shop", dst_deployment: "vote", classification: "failure" },
  ],
  [
    "stat service",
    `sum(increase(response_total{direction="outbound",authority=~"^vote.shop.svc.cluster.local.*"}${RATE})) by (dst_namespace, dst_service, classification, tls)`,
    { dst_service: "vote", classification: "success" },
  ],
  [
    "stat -o wide, connections",
    'sum(tcp_open_connections{direction="inbound",peer="src",namespace="shop"}) by (namespace, deployment)',
    { deployment: "vote" },
  ],
  [
    "stat -o wide, bytes",
    `sum(increase(tcp_read_bytes_total{direction="inbound",peer="src"}${RATE})) by (deployment)`,
    { deployment: "vote" },
  ],
  [
    "stat server",
    `sum(increase(response_total{srv_kind="server"}${RATE})) by (srv_kind, namespace, srv_name, classification, tls)`,
    { srv_name: "vote-http", classification: "success" },
  ],
  [
    "stat server, allowed",
    `sum(increase(inbound_http_authz_allow_total{srv_name="vote-http"}${RATE})) by (srv_kind, namespace, srv_name)`,
    { srv_kind: "server", srv_name: "vote-http" },
  ],
  [
    "stat server, denied",
    `sum(increase(inbound_http_authz_deny_total{srv_name="vote-http"}${RATE})) by (srv_kind, namespace, srv_name)`,
    { srv_kind: "server", srv_name: "vote-http" },
  ],
  [
    "authz",
    `sum(increase(inbound_http_authz_allow_total{deployment="vote"}${RATE})) by (srv_name, srv_kind, route_name, route_kind, authz_name, authz_kind)`,
    { srv_name: "vote-http", route_name: "default", authz_name: "vote-http" },
  ],
  [
    "edges",
    'sum(tcp_open_connections{direction="outbound",deployment!="",dst_deployment!=""}) by (deployment, dst_deployment, pod, server_id, namespace, dst_namespace, no_tls_reason)',
    { deployment: "web", dst_deployment: "vote", dst_namespace: "shop", server_id: "" },
  ],
  [
    "routes",
    `sum(increase(route_response_total{direction="outbound",dst=~"(polls.shop.svc.cluster.local)(:\\\\d+)?"}${RATE})) by (rt_route, dst, classification)`,
    { rt_route: "all", dst: "polls.shop.svc.cluster.local:8080", classification: "success" },
  ],
  [
    "routes, of the side that serves",
    `sum(increase(route_response_total{direction="inbound",deployment="vote",dst=~"(polls.shop.svc.cluster.local)(:\\\\d+)?"}${RATE})) by (rt_route, dst, classification)`,
    { rt_route: "all", dst: "polls.shop.svc.cluster.local:8080", classification: "success" },
  ],
  [
    "routes --to",
    `sum(increase(route_actual_response_total{rt_route!=""}${RATE})) by (rt_route, dst, classification)`,
    { rt_route: "all", classification: "success" },
  ],
  [
    "routes, latency",
    `histogram_quantile(0.95, sum(irate(route_response_latency_ms_bucket{rt_route="all"}${RATE})) by (le, dst, rt_route))`,
    { rt_route: "all" },
  ],
  [
    "stat-inbound",
    `sum(increase(response_total{direction="inbound"}${RATE})) by (srv_name, srv_kind, route_name, route_kind, classification, target_port, deployment)`,
    {
      srv_name: "vote-http",
      srv_kind: "server",
      route_name: "default",
      target_port: "8080",
      classification: "success",
    },
  ],
  [
    "stat-outbound, backends",
    `sum(increase(outbound_http_route_backend_response_statuses_total{parent_name="vote"}${RATE})) by (parent_name, parent_port, backend_name, backend_port, route_name, route_kind, http_status, error)`,
    { parent_port: "8080", backend_name: "vote", backend_port: "8080", http_status: "503" },
  ],
  [
    "stat-outbound, routes",
    `sum(increase(outbound_http_route_request_statuses_total{deployment="load"}${RATE})) by (parent_name, route_name, http_status, error)`,
    { parent_name: "vote", http_status: "403", error: "" },
  ],
  [
    "stat-outbound, backend latency",
    `histogram_quantile(0.95, sum(irate(outbound_http_route_backend_response_duration_seconds_bucket${RATE})) by (le, parent_name, backend_name))`,
    { parent_name: "vote", backend_name: "vote" },
  ],
  [
    "stat-outbound, route latency",
    `histogram_quantile(0.95, sum(irate(outbound_http_route_request_duration_seconds_bucket${RATE})) by (le, parent_name))`,
    { parent_name: "vote" },
  ],
  [
    "list pods",
    'max(process_start_time_seconds{namespace="shop"}) by (pod, namespace)',
    { pod: "load" },
  ],
];

/** A row with these labels (empty: any value) and a value over 0. */
function hasRow(rows: readonly QueryRow[], want: Readonly<Record<string, string>>): boolean {
  return rows.some(({ metric, value }) =>
    Number(value[1]) > 0 &&
    Object.entries(want).every(([k, v]) =>
      v === "" ? k === "error" || !!metric[k] : metric[k] === v
    )
  );
}

testUnless(
  missing,
  test,
  "what linkerd viz asks of Prometheus has answers, and traces are found by their exemplars",
  () =>
    withPrometheus(async (api) => {
      const open = new Map(QUERIES.map((q) => [q[0], q]));
      await eventually(
        "every query has an answer",
        async () => {
          await traffic();
          for (const [name, expression, want] of open.values()) {
            const rows = await api.query(expression).catch(() => []);
            if (hasRow(rows, want)) open.delete(name);
          }
          assert.equal([...open.keys()], [], api.said());
        },
        60_000,
      );
      const [total] = await api.query('count(response_total{direction="inbound",error!=""})');
      assert.is(total, undefined, "no response ended in an error");
      await eventually(
        "the trace is there",
        async () => {
          await traffic();
          const rows = await api.exemplars("response_latency_ms_bucket");
          const ids = rows.flatMap((r) => r.exemplars.map((e) => e.labels.trace_id));
          assert.ok(ids.includes(TRACE), JSON.stringify(rows).slice(0, 300));
        },
        30_000,
      );
    }),
);

testUnless(
  missing,
  test,
  "Prometheus scrapes proxies, and its queries see what passed",
  () =>
    withPrometheus(async (api) => {
      const shown = await mesh.metrics(VOTE);
      const passed = (classification: string) =>
        sum(shown, "response_total", { direction: "inbound", classification });
      const until = (expression: string, value: number) =>
        eventually(
          `${expression} is ${value}`,
          async () => {
            const rows = await api.query(expression).catch(() => []);
            assert.is(Number(rows[0]?.value[1] ?? NaN), value, api.said());
          },
          30_000,
        );
      await until("sum(up)", PODS.length);
      for (const is of ["success", "failure"]) {
        await until(
          `sum(response_total{direction="inbound",deployment="vote",classification="${is}"})`,
          passed(is),
        );
      }
      await until("count(proxy_build_info)", PODS.length);
    }),
);

test.run();
