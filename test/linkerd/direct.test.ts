// Connections between two proxies at the mesh port, as Linkerd 2.20 makes them for all meshed endpoints:
// mutual TLS, a transport header, and what is inside. A port may be opaque on either side.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { ask2, raw, serveTcp } from "./support/apps.ts";
import { add, ANYBODY, detecting, only, server } from "./support/messages.ts";
import { startProxy, type TestProxy } from "./support/proxy.ts";
import { World } from "./support/world.ts";

const OPAQUE_PORT = 14_306;

let world: World;
let inbound: TestProxy;
test.before(async () => {
  world = await World.start(134);
  inbound = await startProxy(world.control, {
    ip: `${world.net}.3`,
    name: "app",
    env: { LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION: String(OPAQUE_PORT) },
  });
  inbound.inbound = null; // everybody comes to the mesh port itself
  world.onEnd(() => inbound.end());
});
test.after(() => world?.end());

/** A Service whose only endpoint is meshed. */
function meshed(at: string, hint: "h2" | "opaque" | null) {
  const service = world.service("direct");
  const { identity } = inbound;
  world.control.get.at(service.path).set(
    add([[at, { identity, inboundPort: 4143, ...(hint === null ? {} : { hint }) }]]),
  );
  return service;
}

test("hint h2: HTTP/1 travels over HTTP/2, and the application is told who asks", async () => {
  const app = await world.app("http1", "hello", inbound.ip);
  const service = meshed(app.at, "h2");
  assert.is((await world.ask("HTTP/1", service)).body, "hello");
  assert.is(app.got[0]?.version, "1.1");
  assert.is(app.got[0]?.headers["l5d-client-id"], world.proxy.identity);
  assert.is(app.got[0]?.headers["l5d-orig-proto"], undefined);
});

test("no hint: HTTP/1 and HTTP/2 travel as they are", async () => {
  const old = await world.app("http1", "one", inbound.ip);
  assert.is((await world.ask("HTTP/1", meshed(old.at, null))).body, "one");
  const app = await world.app("http2", "two", inbound.ip);
  const service = meshed(app.at, null);
  world.proxy.outbound = service.clusterAddr;
  const { body } = await ask2(world.proxy.outboundAt, {
    ":method": "GET",
    ":path": "/",
    ":scheme": "http",
    ":authority": service.name,
  });
  assert.is(body, "two");
  assert.is(app.got[0]?.headers["l5d-client-id"], world.proxy.identity);
});

test("hint opaque, and a port that is opaque by the environment: HTTP passes as bytes", async () => {
  const app = await world.app("http1", "hello", inbound.ip, OPAQUE_PORT);
  const service = meshed(app.at, "opaque");
  world.control.profile.at(service.clusterAddr).refuse(3);
  assert.is((await world.ask("HTTP/1", service)).body, "hello");
});

test("hint opaque, and a port that is opaque by its policy: a server may speak first", async () => {
  const app = await serveTcp(inbound.ip, (socket) => {
    socket.write("server first\n");
    socket.on("end", () => socket.end());
  });
  world.onEnd(() => app.close());
  world.control.inbound.at(`app ${app.at.split(":")[1]}`).set(server({ opaque: {} }));
  const service = meshed(app.at, "opaque");
  world.proxy.outbound = service.clusterAddr;
  const one = raw(world.proxy.outboundAt);
  await one.saw(/^server first\n$/);
  one.socket.destroy();
});

test("policy of the port decides by identity: another's is 403, with a change at once", async () => {
  const app = await world.app("http1", "in", inbound.ip);
  const service = meshed(app.at, "h2");
  const feed = world.control.inbound.at(`app ${app.at.split(":")[1]}`);
  feed.set(detecting({}, [only("other.test.serviceaccount.identity.linkerd.cluster.local")]));
  await eventually("it is refused", async () => {
    assert.is((await world.ask("HTTP/1", service)).status, 403);
  });
  feed.set(detecting({}, [only(world.proxy.identity)]));
  await eventually("it is admitted", async () => {
    assert.is((await world.ask("HTTP/1", service)).body, "in");
  });
  feed.set(detecting({}, [ANYBODY]));
});

test("bytes in clear text, and TLS without a client's certificate, get nothing at the mesh port", async () => {
  const count = async () => sum(await inbound.metrics(), "inbound_tcp_errors_total");
  const before = await count();
  const one = raw(inbound.inboundAt, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await one.ended();
  assert.is(one.text(), "");
  await eventually("it is counted", async () => assert.is(await count(), before + 1));
});

test("a connection to an address that is not the pod's is refused and counted", async () => {
  inbound.inbound = "10.5.1.42:8080";
  const count = async () => sum(await inbound.metrics(), "inbound_tcp_errors_total");
  const before = await count();
  const one = raw(inbound.inboundAt, "hello\n");
  await one.ended();
  assert.is(one.text(), "");
  await eventually("it is counted", async () => assert.is(await count(), before + 1));
  inbound.inbound = null;
});

test.run();
