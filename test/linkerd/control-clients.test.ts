// The control plane as a cluster has it: names that SRV records lead to two replicas, each behind mesh TLS
// that a sidecar would end. The real proxy finds them, spreads over them, and loses one.

import { test } from "uvu";
import * as assert from "uvu/assert";
import net from "node:net";
import tls from "node:tls";
import { parseSocketAddr } from "../../src/core/addr.ts";
import { createControlDns } from "../../src/runtime/control-dns.ts";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { type DnsServer, serveDns } from "../runtime/dns-server.ts";
import { keyObject, newKeys } from "../support/test-ca.ts";
import { serve } from "./support/apps.ts";
import { ControlPlane } from "./support/control-plane.ts";
import { add, policy, profile } from "./support/messages.ts";
import { podNet, startProxy, type TestProxy } from "./support/proxy.ts";

const IDENTITY = "linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local";
const NAMES = ["linkerd-dst-headless", "linkerd-policy", "linkerd-identity-headless"]
  .map((name) => `${name}.linkerd.svc.cluster.local`);
const [DST = "", POLICY = "", ISSUER = ""] = NAMES;

/** A replica: ends mesh TLS at `ip` as a sidecar does, and goes on to `control` in clear text. */
async function replica(control: ControlPlane, ip: string, identity = IDENTITY) {
  const keys = await newKeys();
  const leaf = await control.ca.issue({
    publicKey: keys.publicKey,
    names: [{ type: "dns", value: identity }],
  });
  const open = new Set<net.Socket>();
  let connections = 0;
  const server = tls.createServer({
    key: (await keyObject(keys)).export({ type: "pkcs8", format: "pem" }).toString(),
    cert: leaf.toString("pem"),
    ca: control.ca.pem,
    requestCert: true,
    rejectUnauthorized: false, // the first certificate is asked for without one
    minVersion: "TLSv1.3",
  }, (outer) => {
    const { ip: host, port } = parseSocketAddr(control.addr);
    const inner = net.connect({ host, port });
    for (const socket of [outer, inner]) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => [outer, inner].forEach((s) => (open.delete(s), s.destroy())));
    }
    outer.pipe(inner).pipe(outer);
  });
  // Counted before the handshake, which a client may break off.
  server.on("connection", () => connections++);
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, ip, () => resolve());
  });
  return {
    target: ip.replaceAll(".", "-"),
    port: (server.address() as net.AddressInfo).port,
    connections: () => connections,
    kill: async () => {
      for (const s of open) s.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Replica = Awaited<ReturnType<typeof replica>>;

function publish(dns: DnsServer, ...replicas: readonly Replica[]): void {
  for (const name of NAMES) {
    const srv = replicas.map(({ target, port }) => ({ target: `${target}.${name}`, port }));
    dns.zone.set(name, { srv, ttlSeconds: 5 });
  }
}

function start(control: ControlPlane, dns: DnsServer, ip: string, ready = true) {
  return startProxy(control, {
    ip,
    name: "web",
    ready,
    controlDns: createControlDns([dns.at]),
    env: {
      // The ports are not those of the SRV records, which win.
      LINKERD2_PROXY_DESTINATION_SVC_ADDR: `${DST}.:8086`,
      LINKERD2_PROXY_DESTINATION_SVC_NAME: IDENTITY,
      LINKERD2_PROXY_POLICY_SVC_ADDR: `${POLICY}.:8090`,
      LINKERD2_PROXY_POLICY_SVC_NAME: IDENTITY,
      LINKERD2_PROXY_IDENTITY_SVC_ADDR: `${ISSUER}.:8080`,
      LINKERD2_PROXY_IDENTITY_SVC_NAME: IDENTITY,
      LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT: "3s",
      LINKERD2_PROXY_CONTROL_STREAM_IDLE_TIMEOUT: "5m",
      LINKERD2_PROXY_CONTROL_STREAM_LIFETIME: "1h",
      LINKERD2_PROXY_DNS_MAX_TTL: "1s",
    },
  });
}

/** A request to a Service that nobody asked for before: it needs three new streams. */
async function discovers(control: ControlPlane, proxy: TestProxy, n: number, app: string) {
  const name = `svc-${n}.test.svc.cluster.local`;
  const [path, clusterAddr] = [`${name}:8080`, `10.9.1.${n}:8080`];
  control.profile.at(clusterAddr).set(profile(name));
  control.outbound.at(clusterAddr).set(policy(path));
  control.get.at(path).set(add([app]));
  proxy.outbound = clusterAddr;
  const { status, body } = await proxy.get("/", { host: name });
  assert.equal([status, body], [200, "here"], `request ${n}`);
}

test("a proxy finds both replicas by SRV records, and goes on with one when the other is killed", async () => {
  const pods = podNet(158);
  const control = await ControlPlane.start();
  const dns = await serveDns();
  const app = await serve(`${pods}.50`, "http1", "here");
  const a = await replica(control, `${pods}.20`);
  const b = await replica(control, `${pods}.21`);
  publish(dns, a, b);
  const proxy = await start(control, dns, `${pods}.2`);
  try {
    let n = 0;
    for (; n < 8; n++) await discovers(control, proxy, n, app.at);
    assert.ok(a.connections() > 0 && b.connections() > 0, "both are used");
    assert.ok(a.connections() + b.connections() <= 6, "by one connection of each client");
    await a.kill();
    for (; n < 20; n++) await discovers(control, proxy, n, app.at);
    // What was known by the killed one is asked again of the other.
    control.get.at("svc-19.test.svc.cluster.local:8080").set(add([app.at]));
    const resolved = await proxy.metrics();
    const count = (labels: Record<string, string>) =>
      sum(resolved, "control_dns_resolutions_total", labels);
    for (const client of ["identity", "destination", "policy"]) {
      assert.ok(count({ client, record_type: "SRV", result: "ok" }) >= 1, client);
    }
    assert.is(count({ record_type: "A/AAAA" }), 0);
  } finally {
    await proxy.end();
    for (const one of [app, dns, control]) await one.close();
    await b.kill();
  }
});

test("a replica with another name is not spoken to, whatever DNS says", async () => {
  const pods = podNet(158);
  const control = await ControlPlane.start();
  const dns = await serveDns();
  const wrong = await replica(control, `${pods}.22`, IDENTITY.replace("destination", "impostor"));
  publish(dns, wrong);
  const proxy = await start(control, dns, `${pods}.3`, false);
  const right = await replica(control, `${pods}.23`);
  try {
    await eventually("it was tried", () => assert.ok(wrong.connections() >= 2), 30_000);
    assert.is(control.certifyRequests.length, 0, "no token was shown");
    publish(dns, right);
    await eventually("it is ready by the right one", async () => {
      assert.is((await proxy.admin("/ready")).status, 200);
    }, 30_000);
    assert.ok(control.certifyRequests.length > 0);
  } finally {
    await proxy.end();
    for (const one of [dns, control]) await one.close();
    for (const one of [wrong, right]) await one.kill();
  }
});

test.run();
