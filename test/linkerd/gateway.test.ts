// A gateway: the proxy of one cluster names, in the transport header, a service of another; the gateway's
// proxy there asks its own control plane and goes on. Both proxies are real, the control plane is played.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { raw, serveTcp } from "./support/apps.ts";
import {
  add,
  ANYBODY,
  detecting,
  first,
  only,
  opaqueRoute,
  policy,
  policyOf,
  profile,
} from "./support/messages.ts";
import { startProxy, type TestProxy } from "./support/proxy.ts";
import { World } from "./support/world.ts";

let world: World;
let gateway: TestProxy;
test.before(async () => {
  world = await World.start(136);
  gateway = await startProxy(world.control, {
    ip: `${world.net}.3`,
    name: "gateway",
    env: { LINKERD2_PROXY_INBOUND_GATEWAY_SUFFIXES: "svc.cluster.local." },
  });
  gateway.inbound = null;
  world.onEnd(() => gateway.end());
});
test.after(() => world?.end());

/** A Service of the other cluster, as its mirror here: the gateway is its only endpoint. */
function mirrored(authority: string, hint: "h2" | "opaque" = "h2") {
  const service = world.service("mirror");
  world.control.get.at(service.path).set(add([[
    `${gateway.ip}:4143`,
    { identity: gateway.identity, inboundPort: 4143, hint, authority },
  ]]));
  return service;
}

/** The Service itself, as the gateway's control plane knows it by name. */
function known(label: string, at: string) {
  const service = world.named(label);
  world.control.profile.at(service.path).set(profile(service.name));
  world.control.outbound.at(service.path).set(policy(service.path));
  world.control.get.at(service.path).set(add([at]));
  return service;
}

for (const dialect of ["HTTP/1", "HTTP/2"] as const) {
  test(`${dialect}: a request reaches the named service through the gateway`, async () => {
    const app = await world.app(dialect === "HTTP/1" ? "http1" : "http2", "from afar");
    const service = known("target", app.at);
    const answer = await world.ask(dialect, mirrored(service.path));
    assert.equal([answer.status, answer.body], [200, "from afar"]);
    const { headers } = app.got[0]!;
    const forwarded = String(headers["forwarded"]);
    assert.match(forwarded, `by=${gateway.identity};for=${world.proxy.identity};`);
    assert.match(forwarded, `host=${service.path};proto=https`);
    assert.is(headers["host"] ?? headers[":authority"], service.path);
  });
}

test("bytes reach the named service through the gateway, whoever speaks first", async () => {
  const app = await serveTcp(`${world.net}.50`, (socket) => {
    socket.write("far server\n");
    socket.on("data", (piece: Uint8Array) => socket.write(piece));
    socket.on("end", () => socket.end());
  });
  world.onEnd(() => app.close());
  const service = known("bytes", app.at);
  const routes = { opaque: { routes: [opaqueRoute(first(service.path))] } };
  world.control.outbound.at(service.path).set(policyOf(service.path, routes));
  const mirror = mirrored(service.path, "opaque");
  const here = { opaque: { routes: [opaqueRoute(first(mirror.path))] } };
  world.control.outbound.at(mirror.clusterAddr).set(policyOf(mirror.path, here));
  world.proxy.outbound = mirror.clusterAddr;
  const one = raw(world.proxy.outboundAt);
  await one.saw(/^far server\n$/);
  one.socket.write("echo\n");
  await one.saw(/echo\n$/);
  one.socket.end();
  await one.ended();
});

test("a name outside of its suffixes is 404, and counted", async () => {
  const counted = async () =>
    sum(await gateway.metrics(), "inbound_http_errors_total", { error: "gateway domain invalid" });
  const before = await counted();
  assert.is((await world.ask("HTTP/1", mirrored("web.example.com:80"))).status, 404);
  assert.is(await counted(), before + 1);
});

test("a request that came through this gateway before is 508", async () => {
  const app = await world.app("http1", "never");
  const service = known("loop", app.at);
  const headers = { forwarded: `for=10.0.0.1, by="${gateway.identity}";proto=https` };
  const { status } = await world.ask("HTTP/1", mirrored(service.path), "/", { headers });
  assert.is(status, 508);
  assert.is(app.got.length, 0);
});

test("who may use the gateway is the policy of its mesh port", async () => {
  const app = await world.app("http1", "for friends");
  const service = known("closed", app.at);
  const mirror = mirrored(service.path);
  const feed = world.control.inbound.at("gateway 4143");
  feed.set(detecting({}, [only("other.test.serviceaccount.identity.linkerd.cluster.local")]));
  await eventually("it is refused", async () => {
    assert.is((await world.ask("HTTP/1", mirror)).status, 403);
  });
  const before = app.got.length;
  assert.is((await world.ask("HTTP/1", mirror)).status, 403);
  assert.is(app.got.length, before);
  feed.set(detecting({}, [ANYBODY]));
  await eventually("it is admitted", async () => {
    assert.is((await world.ask("HTTP/1", mirror)).body, "for friends");
  });
});

test("a proxy that is no gateway refuses a connection with a name", async () => {
  const plain = await startProxy(world.control, { ip: `${world.net}.4`, name: "plain" });
  world.onEnd(() => plain.end());
  plain.inbound = null;
  const service = world.service("mirror");
  world.control.get.at(service.path).set(add([[
    `${plain.ip}:4143`,
    {
      identity: plain.identity,
      inboundPort: 4143,
      hint: "h2",
      authority: "web.test.svc.cluster.local:80",
    },
  ]]));
  assert.is((await world.ask("HTTP/1", service)).status, 502);
  assert.ok(sum(await plain.metrics(), "inbound_tcp_errors_total") >= 1);
});

test.run();
