// Bytes and HTTP/2 through the proxy of an application that knows of none: client first, server first,
// half-closed, to Services, to addresses outside the mesh, and to the proxy itself.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { ask2, raw, serveTcp, type Way } from "./support/apps.ts";
import { first, opaqueRoute, policyOf, server } from "./support/messages.ts";
import { World } from "./support/world.ts";

let world: World;
test.before(async () => {
  world = await World.start(130, {
    env: { LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION: "3306" },
  });
});
test.after(() => world?.end());

/** Answers the first bytes, and ends when the client has ended. */
async function greeting(ip = `${world.net}.50`, port = 0) {
  const app = await serveTcp(ip, (socket) => {
    socket.setEncoding("latin1").once("data", (piece: string) => socket.write(`bye ${piece}`));
    socket.on("end", () => socket.end());
  }, port);
  world.onEnd(() => app.close());
  return app;
}

/** Speaks first, then repeats what it hears. */
async function speaksFirst(ip = `${world.net}.50`, port = 0) {
  const app = await serveTcp(ip, (socket) => {
    socket.write("server starts\n");
    socket.on("data", (piece: Uint8Array) => socket.write(piece));
    socket.on("end", () => socket.end());
  }, port);
  world.onEnd(() => app.close());
  return app;
}

async function clientFirst(way: Way): Promise<void> {
  const one = raw(way, "custom tcp hello\n");
  await one.saw(/^bye custom tcp hello\n$/);
  one.socket.end();
  await one.ended();
}

async function serverFirst(way: Way): Promise<void> {
  const one = raw(way);
  await one.saw(/^server starts\n$/);
  one.socket.write("client second\n");
  await one.saw(/client second\n$/);
  one.socket.end();
  await one.ended();
}

test("outbound: bytes reach an endpoint of the Service, and come back", async () => {
  const service = world.service("tcp", (await greeting()).at);
  world.proxy.outbound = service.clusterAddr;
  await clientFirst(world.proxy.outboundAt);
  assert.is(world.control.get.at(service.path).opened, 1);
});

test("outbound: an address outside the cluster is gone to as it is", async () => {
  const app = await greeting();
  world.proxy.outbound = app.at;
  await clientFirst(world.proxy.outboundAt);
});

test("inbound: bytes reach the application, and come back", async () => {
  const app = await greeting(world.proxy.ip);
  world.proxy.inbound = app.at;
  await clientFirst(world.proxy.inboundAt);
});

test("inbound: a server may speak first on a port that the policy calls opaque", async () => {
  const app = await speaksFirst(world.proxy.ip);
  const port = app.at.split(":")[1] ?? "";
  world.control.inbound.at(`web ${port}`).set(server({ opaque: {} }));
  world.proxy.inbound = app.at;
  await serverFirst(world.proxy.inboundAt);
});

test("inbound: a server may speak first on a port that only the environment calls opaque", async () => {
  const app = await speaksFirst(world.proxy.ip, 3306);
  world.proxy.inbound = app.at;
  await serverFirst(world.proxy.inboundAt);
});

test("inbound: a server may speak first on a port of which nothing is said", async () => {
  const app = await speaksFirst(world.proxy.ip);
  world.proxy.inbound = app.at;
  await serverFirst(world.proxy.inboundAt);
});

test("outbound: a server may speak first where the policy says opaque", async () => {
  const service = world.service("opaque", (await speaksFirst()).at);
  const { path, clusterAddr } = service;
  world.control.outbound.at(clusterAddr).set(
    policyOf(path, { opaque: { routes: [opaqueRoute(first(path))] } }),
  );
  world.proxy.outbound = clusterAddr;
  await serverFirst(world.proxy.outboundAt);
});

test("outbound: a server may speak first where nothing says opaque", async () => {
  const service = world.service("silent", (await speaksFirst()).at);
  world.proxy.outbound = service.clusterAddr;
  await serverFirst(world.proxy.outboundAt);
});

test("inbound: the application hears that its client has closed", async () => {
  let ended = false;
  const app = await serveTcp(world.proxy.ip, (socket) => {
    socket.once("data", () => socket.write("heard\n"));
    socket.on("end", () => (ended = true));
  });
  world.onEnd(() => app.close());
  world.proxy.inbound = app.at;
  const one = raw(world.proxy.inboundAt, "custom tcp hello\n");
  await one.saw(/heard/);
  one.socket.end();
  await eventually("the application heard the end", () => assert.ok(ended));
  one.socket.destroy();
});

for (const side of ["outbound", "inbound"] as const) {
  test(`${side}: a connection that leads back to the proxy itself is ended and counted`, async () => {
    const { proxy } = world;
    const way = side === "outbound" ? proxy.outboundAt : proxy.inboundAt;
    const other = side === "outbound" ? 4143 : 4140;
    proxy[side] = `${proxy.ip}:${other}`;
    const name = `${side}_tcp_errors_total`;
    const before = sum(await proxy.metrics(), name, { error: "loop" });
    const one = raw(way, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await one.ended();
    assert.is(one.text(), "");
    await eventually("it is counted", async () => {
      assert.is(sum(await proxy.metrics(), name, { error: "loop" }), before + 1);
    });
  });
}

// HTTP/2 as it comes.

const GET = { ":method": "GET", ":path": "/", ":scheme": "http" };

test("inbound: a request of HTTP/2 without an authority is refused, and nobody else harmed", async () => {
  // Linkerd passes it on; RFC 9113, 8.3.1 calls it malformed.
  const app = await world.app("http2", "named", world.proxy.ip);
  world.proxy.inbound = app.at;
  // node:http2 gives every request an authority: the bytes are written here. HEADERS on stream 1 is
  // :method GET, :scheme http, :path /; that on stream 3 has :authority a too.
  const one = raw(
    world.proxy.inboundAt,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" +
      "\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84" +
      "\0\0\x06\x01\x05\0\0\0\x03\x82\x86\x84\x41\x01a",
  );
  await one.saw(/named/);
  assert.ok(
    one.text().includes("\0\0\x04\x03\0\0\0\0\x01\0\0\0\x01"),
    "RST_STREAM, PROTOCOL_ERROR",
  );
  assert.is(app.got.length, 1);
  one.socket.destroy();
});

test("inbound: a reset of HTTP/2 reaches the client with its code", async () => {
  const app = await world.app("http2", () => null, world.proxy.ip);
  world.proxy.inbound = app.at;
  try {
    await ask2(world.proxy.inboundAt, { ...GET, ":authority": "reset.example" });
    assert.unreachable("it was reset");
  } catch (e) {
    assert.match((e as Error).message, /ENHANCE_YOUR_CALM|stream.*(closed|error)/i);
  }
});

test.run();
