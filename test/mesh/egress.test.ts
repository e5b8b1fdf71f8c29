// Traffic that leaves the mesh under two EgressNetworks, one that allows and one that denies everything
// else: the real control plane over a folder, the real proxy with its kernel's redirect played. What is
// denied never reaches the server: requests get 403, bytes a reset, and both are counted.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { proxyPlan } from "../../src/cli/demo-plan.ts";
import { fetchText } from "../../src/cli/demo-scrape.ts";
import { parseSocketAddr } from "../../src/core/addr.ts";
import { runProxy } from "../../src/proxy/main.ts";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { createTestCa } from "../support/test-ca.ts";
import { material } from "../support/driver-fixture.ts";
import { ask } from "./support/http.ts";
import { pod, service, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(140);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.1`, ports: [8080] };
const LOAD: MeshPod = { name: "load", app: "load", ip: `${NET}.2`, ports: [] };
/** Neither is of the mesh: one that may be reached, and one of all others. */
const PARTNER = `${NET}.50`;
const OTHER = `${NET}.60`;

const network = (name: string, trafficPolicy: "Allow" | "Deny", ...cidrs: readonly string[]) => ({
  apiVersion: "policy.linkerd.io/v1alpha1",
  kind: "EgressNetwork",
  metadata: {
    name,
    namespace: "shop",
    annotations: { "config.linkerd.io/opaque-ports": "5432" },
  },
  spec: {
    trafficPolicy,
    ...(cidrs.length === 0 ? {} : { networks: cidrs.map((cidr) => ({ cidr })) }),
  },
});
const INTERNET = "internet.yaml";

let mesh: TestMesh;
/** Where the next connections wanted to go; null: to the proxy itself. */
let original: string | null = null;
/** Connections that servers outside have seen, as `ip:port`. */
const reached: string[] = [];

/** A server outside that answers whatever it gets with `hello`. */
async function serve(ip: string, port: number, server: net.Server): Promise<void> {
  server.on("connection", (socket: net.Socket) => {
    reached.push(`${ip}:${port}`);
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(port, ip, resolve));
  mesh.onEnd(() => new Promise((resolve) => server.close(() => resolve())));
}

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(pod("web", WEB.ip, "web"), pod("load", LOAD.ip, "load")),
      "partners.yaml": yaml(network("partners", "Allow", `${PARTNER}/32`)),
      [INTERNET]: yaml(network("internet", "Deny")),
    },
    pods: [],
  });
  await mesh.identityFiles(WEB);
  const { env } = proxyPlan(mesh.folders, { ...WEB, appEnv: {} }, mesh.control, NET);
  const stop = Promise.withResolvers<void>();
  const ended = runProxy(new Map(Object.entries(env)), {
    stop: stop.promise,
    write: (line) => mesh.log.push(line),
    originalOf: (local) =>
      local.port === 4140 && original !== null ? parseSocketAddr(original) : null,
  });
  mesh.onEnd(async () => {
    stop.resolve();
    await ended;
  });
  await eventually("the proxy is ready", () => fetchText(`http://${WEB.ip}:4191/ready`), 30_000);
  const hello = (socket: net.Socket) =>
    void socket.once("data", () => socket.end("hello")).on("error", () => {});
  const identity = await material(await createTestCa(), "outside.test");
  for (const ip of [PARTNER, OTHER]) {
    await mesh.serve(ip, 8080, () => {
      reached.push(`${ip}:8080`);
      return { body: "hello" };
    });
    for (const port of [9000, 5432]) await serve(ip, port, net.createServer(hello));
    await serve(
      ip,
      8443,
      tls.createServer({ key: identity.keyPem, cert: identity.certPem }, hello),
    );
  }
});
test.after(() => mesh?.end());

/** A request of the application that was redirected on its way to an address. */
async function get(ip: string, host = "outside.test"): Promise<number> {
  original = `${ip}:8080`;
  const at = { host: WEB.ip, port: 4140, localAddress: WEB.ip, agent: false };
  const { status, body } = await ask({ ...at, path: "/", headers: { host } });
  if (status === 200) assert.is(body, "hello");
  return status;
}

/** What a connection that was redirected on its way to an address ends with. */
async function talk(ip: string, port: number, says: string): Promise<string> {
  original = `${ip}:${port}`;
  const socket = net.connect({ host: WEB.ip, port: 4140, localAddress: WEB.ip });
  let heard = "";
  socket.on("data", (bytes: Uint8Array) => heard += new TextDecoder().decode(bytes));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  let error = "";
  socket.on("error", (e: NodeJS.ErrnoException) => error = e.code ?? e.message);
  socket.write(says);
  await closed;
  return error === "" ? heard : error;
}

/** The same in TLS. */
async function talkTls(ip: string, servername = "outside.test"): Promise<string> {
  original = `${ip}:8443`;
  const raw = net.connect({ host: WEB.ip, port: 4140, localAddress: WEB.ip });
  // Nobody is authenticated here: it is about bytes.
  const socket = tls.connect({
    socket: raw,
    servername,
    rejectUnauthorized: false,
  });
  let heard = "";
  socket.on("data", (bytes: Uint8Array) => heard += new TextDecoder().decode(bytes));
  let error = "";
  for (const one of [raw, socket]) one.on("error", (e) => error = e.message);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write("GET");
  await closed;
  raw.destroy();
  return error === "" ? heard : "failed";
}

const closedBy = async (labels: Readonly<Record<string, string>>) =>
  sum(await mesh.metrics(WEB), "outbound_tcp_route_close_total", labels);

test("requests to what is denied get 403, and never reach it", async () => {
  assert.is(await get(PARTNER), 200);
  assert.is(await get(OTHER), 403);
  assert.is((await mesh.call(WEB, `http://${OTHER}:8080/`)).status, 403, "also where it is named");
  assert.equal(reached, [`${PARTNER}:8080`]);
  const samples = await mesh.metrics(WEB);
  const statuses = (labels: Readonly<Record<string, string>>) =>
    sum(samples, "outbound_http_route_request_statuses_total", {
      parent_group: "policy.linkerd.io",
      parent_kind: "EgressNetwork",
      ...labels,
    });
  const denied = { parent_name: "internet", route_name: "http-egress-deny", http_status: "403" };
  assert.is(statuses(denied), 2);
  const allowed = { parent_name: "partners", route_name: "http-egress-allow", http_status: "200" };
  assert.is(statuses(allowed), 1);
});

test("bytes and TLS to what is denied are reset, and counted as forbidden", async () => {
  reached.length = 0;
  assert.is(await talk(PARTNER, 9000, "PING\0\r\n"), "hello");
  assert.is(await talkTls(PARTNER), "hello");
  const denied = { parent_name: "internet", route_name: "tcp-egress-deny", error: "forbidden" };
  assert.is(await talk(OTHER, 9000, "PING\0\r\n"), "ECONNRESET");
  assert.is(await closedBy(denied), 1);
  assert.is(await talkTls(OTHER), "failed");
  assert.is(await closedBy(denied), 2);
  assert.equal(reached, [`${PARTNER}:9000`, `${PARTNER}:8443`]);
  assert.is(await closedBy({ parent_name: "partners", route_name: "tcp-egress-allow" }), 2);
});

test("on an opaque port nothing is read before it is denied", async () => {
  reached.length = 0;
  assert.is(await talk(PARTNER, 5432, "GET / HTTP/1.1\r\n\r\n"), "hello");
  assert.is(await talk(OTHER, 5432, "GET / HTTP/1.1\r\n\r\n"), "ECONNRESET");
  assert.equal(reached, [`${PARTNER}:5432`]);
});

test("worker threads deny the same, also to clients that name where they want to go", async () => {
  await mesh.startProxy(LOAD, { LINKERD2_PROXY_CORES: "2" });
  reached.length = 0;
  const connect = async (ip: string) => {
    const socket = net.connect({ host: LOAD.ip, port: 4140, localAddress: LOAD.ip });
    socket.on("error", () => {});
    socket.write(`CONNECT ${ip}:9000 HTTP/1.1\r\nhost: ${ip}:9000\r\n\r\n`);
    const answer = await new Promise<string>((resolve) => {
      socket.once("data", (bytes: Uint8Array) => resolve(new TextDecoder().decode(bytes)));
      socket.once("close", () => resolve("closed"));
    });
    socket.destroy();
    return answer.split("\r\n")[0];
  };
  for (let i = 0; i < 8; i++) {
    assert.is((await mesh.call(LOAD, `http://${OTHER}:8080/`)).status, 403);
    assert.match(await connect(OTHER) ?? "", /^HTTP\/1\.1 403 /);
  }
  assert.equal(reached, []);
  assert.is((await mesh.call(LOAD, `http://${PARTNER}:8080/`)).status, 200);
  assert.match(await connect(PARTNER) ?? "", /^HTTP\/1\.1 200 /);
});

test("routes let out what they name, of requests by host and of TLS by name", async () => {
  const route = (kind: string, version: string, port: number, name: string) => ({
    apiVersion: `gateway.networking.k8s.io/${version}`,
    kind,
    metadata: { name: `to-${port}`, namespace: "shop" },
    spec: {
      parentRefs: [{ group: "policy.linkerd.io", kind: "EgressNetwork", name: "internet", port }],
      hostnames: [name],
      rules: [{
        backendRefs: [{ group: "policy.linkerd.io", kind: "EgressNetwork", name: "internet" }],
      }],
    },
  });
  await mesh.write(
    "routes.yaml",
    yaml(
      route("HTTPRoute", "v1", 8080, "api.example.com"),
      route("TLSRoute", "v1alpha2", 8443, "*.example.com"),
    ),
  );
  reached.length = 0;
  const host = "api.example.com";
  await eventually("the host is let out", async () => assert.is(await get(OTHER, host), 200));
  assert.is(await get(OTHER), 403);
  await eventually("the name is let out", async () => {
    assert.is(await talkTls(OTHER, host), "hello");
  });
  assert.is(await talkTls(OTHER, "example.org"), "failed");
  assert.is(await talk(OTHER, 8443, "PING\0\r\n"), "ECONNRESET", "what is no TLS");
  assert.is(await talk(OTHER, 8080, "PING\0\r\n"), "ECONNRESET", "what is no request");
  assert.equal(reached, [`${OTHER}:8080`, `${OTHER}:8443`]);
  const samples = await mesh.metrics(WEB);
  const denied = { route_name: "tls-egress-deny", error: "forbidden" };
  assert.ok(sum(samples, "outbound_tls_route_close_total", denied) >= 1);
  const named = { route_kind: "TLSRoute", route_name: "to-8443" };
  assert.is(sum(samples, "outbound_tls_route_open_total", named), 1);
  await mesh.remove("routes.yaml");
  await eventually("nothing is let out", async () => assert.is(await get(OTHER, host), 403));
});

test("a route leads to a Service of the mesh where the rest leaves it", async () => {
  const gateway = `${NET}.70`;
  await mesh.serve(gateway, 8080, () => ({ body: "gateway" }));
  await mesh.write(
    "gateway.yaml",
    yaml(...service("gateway", `${NET}.103`, { gateway }), {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata: { name: "via", namespace: "shop" },
      spec: {
        parentRefs: [{
          group: "policy.linkerd.io",
          kind: "EgressNetwork",
          name: "partners",
          port: 8080,
        }],
        hostnames: ["via.example.com"],
        rules: [{ backendRefs: [{ name: "gateway", port: 8080 }] }],
      },
    }),
  );
  reached.length = 0;
  original = `${PARTNER}:8080`;
  const at = { host: WEB.ip, port: 4140, localAddress: WEB.ip, agent: false, path: "/" };
  const body = async (host: string) => (await ask({ ...at, headers: { host } })).body;
  await eventually("it goes to the gateway", async () => {
    assert.is(await body("via.example.com"), "gateway");
  });
  reached.length = 0;
  for (let i = 0; i < 10; i++) {
    assert.is(await body("via.example.com"), "gateway");
    assert.is(await body("else.example.com"), "hello");
  }
  assert.equal(reached, new Array(10).fill(`${PARTNER}:8080`));
  // The server there speaks HTTP: it says what it thinks of bytes.
  assert.match(await talk(PARTNER, 8080, "PING\0\r\n\r\n"), /^HTTP\/1\.1 400/);
  await mesh.remove("gateway.yaml");
});

test("a filter holds for what leaves by a network, such as a rate limit", async () => {
  const module = "local-rate-limit.wasm";
  const bytes = await readFile(join(mesh.folders.modules, module));
  await mesh.write(
    "limit.yaml",
    yaml({
      apiVersion: "tulle.dev/v1alpha1",
      kind: "WasmFilter",
      metadata: { name: "limit", namespace: "shop" },
      spec: {
        targetRef: { kind: "EgressNetwork", name: "partners" },
        module: {
          sha256: createHash("sha256").update(bytes).digest("hex"),
          file: `../../filters/build/${module}`,
        },
        // One at once, and the next after ten minutes.
        config: { requestsPerSecond: 1 / 600 },
        failurePolicy: "Closed",
      },
    }),
  );
  await eventually("what is over the limit is told so", async () => {
    assert.is(await get(PARTNER), 429);
  });
  await mesh.remove("limit.yaml");
  await eventually("the limit is gone", async () => assert.is(await get(PARTNER), 200));
});

test("networks that change and go reach a proxy that has asked already", async () => {
  await mesh.write(INTERNET, yaml(network("internet", "Allow")));
  await eventually("it is allowed", async () => assert.is(await get(OTHER), 200));
  assert.is(await talk(OTHER, 9000, "PING\0\r\n"), "hello");
  await mesh.write(INTERNET, yaml(network("internet", "Deny")));
  await eventually("it is denied", async () => assert.is(await get(OTHER), 403));
  assert.is(await get(PARTNER), 200);
  await mesh.remove("partners.yaml");
  await eventually("the other network covers it", async () => assert.is(await get(PARTNER), 403));
  await mesh.remove(INTERNET);
  await eventually("nothing covers it", async () => assert.is(await get(PARTNER), 200));
  assert.is(await get(OTHER), 200);
});

test.run();
