// What proxies export, as Prometheus reads it: its own checker finds nothing, and its own server scrapes
// both formats.

import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";
import { tempDir } from "../support/temp-dir.ts";
import { pod, service, yaml } from "./support/objects.ts";
import { eventually } from "./support/waiting.ts";

const PROMTOOL = "/usr/bin/promtool";
const PROMETHEUS = "/usr/bin/prometheus";
const missing = existsSync(PROMTOOL) && existsSync(PROMETHEUS)
  ? null
  : "Prometheus is not installed (tools/setup-debian)";
const NET = loopbackNet(108);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const VOTE: MeshPod = { name: "vote", app: "vote", ip: `${NET}.3`, ports: [8080] };

let mesh: TestMesh;
test.before(async () => {
  if (missing !== null) return;
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("vote", VOTE.ip, "vote"),
        ...service("vote", `${NET}.103`, { vote: VOTE.ip }),
      ),
    },
    pods: [WEB, VOTE],
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
const LINKERDS = /^(route_)?response_latency_ms metric names should not contain abbreviated units$/;

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

testUnless(
  missing,
  test,
  "Prometheus scrapes proxies, and its queries see what passed",
  async () => {
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
        `    static_configs: [{ targets: ["${WEB.ip}:4191", "${VOTE.ip}:4191"] }]`,
      ].join("\n"),
    );
    const child = spawn(PROMETHEUS, [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(dir.path, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=error",
    ], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk) => said += String(chunk));
    const exited = new Promise((resolve) => child.once("exit", resolve));
    try {
      const query = async (expression: string): Promise<number> => {
        const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`;
        const answer = await fetch(url).then((r) => r.json()) as {
          data?: { result?: { value: [number, string] }[] };
        };
        return Number(answer.data?.result?.[0]?.value[1] ?? NaN);
      };
      const until = (expression: string, value: number) =>
        eventually(
          `${expression} is ${value} (${said.slice(-300)})`,
          () => query(expression).then((n) => n === value ? "yes" : "", () => ""),
          30_000,
        );
      await until("sum(up)", 2);
      await until('sum(response_total{direction="inbound",classification="success"})', 2);
      await until('sum(response_total{direction="inbound",classification="failure"})', 1);
      await until("count(process_start_time_seconds)", 2);
      await until("count(proxy_build_info)", 2);
    } finally {
      child.kill("SIGKILL");
      await exited;
    }
  },
);

test.run();
