// This proxy's certificate, and mesh TLS that it ends: nothing is served before the first certificate,
// which is renewed in time; who connects is told to the application by the proxy alone.

import net from "node:net";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../mesh/support/waiting.ts";
import { ask } from "../mesh/support/http.ts";
import { exchange, raw, serve } from "./support/apps.ts";
import { ControlPlane } from "./support/control-plane.ts";
import { identityOf, podNet, startProxy, type TestProxy } from "./support/proxy.ts";
import { World } from "./support/world.ts";

let world: World;
test.before(async () => {
  world = await World.start(132);
});
test.after(() => world?.end());

/** The protocol's first bytes over TLS to a name, and what came back until it matches. */
async function overTls(proxy: TestProxy, name: string, text: string, until: RegExp) {
  const socket = net.connect(proxy.inboundAt);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const secure = tls.connect({
    socket,
    servername: name,
    ca: world.control.ca.pem,
    minVersion: "TLSv1.3",
    checkServerIdentity: () => undefined,
  });
  let got = "";
  let failed: Error | null = null;
  secure.setEncoding("latin1").on("data", (piece: string) => (got += piece));
  secure.on("error", (e) => (failed = e)).on("secureConnect", () => secure.write(text, "latin1"));
  try {
    return await eventually("an answer", () => {
      if (!until.test(got)) throw failed ?? new Error(JSON.stringify(got));
      return got;
    });
  } finally {
    secure.destroy();
    socket.destroy();
  }
}

test("a silent connection does not keep others waiting", async () => {
  const app = await world.app("http1", "awake", world.proxy.ip);
  world.proxy.inbound = app.at;
  const idle = raw(world.proxy.inboundAt);
  const text = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  await exchange(world.proxy.inboundAt, text, /awake/);
  idle.socket.destroy();
});

test("HTTP/1 over TLS to the proxy's name is served once it is certified", async () => {
  const app = await world.app("http1", "secure", world.proxy.ip);
  world.proxy.inbound = app.at;
  const text = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  await overTls(world.proxy, world.proxy.identity, text, /secure/);
  assert.is(app.got[0]?.headers["l5d-client-id"], undefined, "the client has no certificate");
});

test("HTTP/2 over TLS to the proxy's name is served once it is certified", async () => {
  const app = await world.app("http2", "secure", world.proxy.ip);
  world.proxy.inbound = app.at;
  // The preface, SETTINGS, and a GET; what comes back begins with the server's SETTINGS.
  const request = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\0\0\0\x04\0\0\0\0\0" +
    "\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
  await overTls(world.proxy, world.proxy.identity, request, /secure/);
});

test("TLS to another name passes through", async () => {
  let hello = 0;
  const app = await serve(world.proxy.ip, "http1", "never");
  await app.close();
  const other = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (piece: Uint8Array) => {
      hello = piece[0] ?? 0;
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => other.listen({ host: world.proxy.ip, port: 0 }, resolve));
  world.onEnd(() => new Promise((resolve) => other.close(resolve)));
  const { port } = other.address() as net.AddressInfo;
  world.proxy.inbound = `${world.proxy.ip}:${port}`;
  const socket = net.connect(world.proxy.inboundAt);
  const secure = tls.connect({
    socket,
    servername: "elsewhere.example",
    rejectUnauthorized: false,
  });
  secure.on("error", () => {});
  await eventually("the ClientHello came through", () => assert.is(hello, 0x16));
  secure.destroy();
  socket.destroy();
});

test("before the first certificate the proxy is alive, not ready, and serves nobody", async () => {
  const control = await ControlPlane.start();
  const gate = Promise.withResolvers<void>();
  control.certify = async (request) => {
    await gate.promise;
    return await control.issue(request);
  };
  const proxy = await startProxy(control, { ip: `${podNet(132)}.9`, name: "late", ready: false });
  try {
    const at = { host: proxy.ip, port: 4191, agent: false as const };
    await eventually("it is alive", async () => {
      assert.is((await ask({ ...at, path: "/live" })).status, 200);
    });
    await eventually("it asks", () => assert.is(control.certifyRequests.length, 1));
    assert.is((await ask({ ...at, path: "/ready" })).status, 503);
    for (const way of [proxy.inboundAt, proxy.outboundAt]) {
      const one = raw(way, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      await one.ended();
      assert.is(one.text(), "");
    }
    gate.resolve();
    await eventually("it is ready", async () => {
      assert.is((await ask({ ...at, path: "/ready" })).status, 200);
    });
    const [request] = control.certifyRequests;
    assert.is(request?.identity, identityOf("late"));
    assert.is(new TextDecoder().decode(request?.token), "a token");
  } finally {
    gate.resolve();
    await proxy.end();
    await control.close();
  }
});

test("a certificate is renewed before it expires, with the same key", async () => {
  const control = await ControlPlane.start();
  control.certify = (request) => control.issue(request, 1);
  const proxy = await startProxy(control, {
    ip: `${podNet(132)}.10`,
    name: "short",
    env: { LINKERD2_PROXY_IDENTITY_MIN_REFRESH: "10ms" },
  });
  try {
    await eventually("it asked again", () => assert.ok(control.certifyRequests.length >= 2));
    const [one, two] = control.certifyRequests.map((r) => r.certificateSigningRequest);
    assert.equal(one, two);
  } finally {
    await proxy.end();
    await control.close();
  }
});

test("a certificate for somebody else is not taken, and asked for again", async () => {
  const control = await ControlPlane.start();
  let n = 0;
  control.certify = (request) =>
    control.issue(n++ === 0 ? { ...request, identity: "somebody.else" } : request);
  const proxy = await startProxy(control, { ip: `${podNet(132)}.11`, name: "right" });
  try {
    assert.is(control.certifyRequests.length, 2);
  } finally {
    await proxy.end();
    await control.close();
  }
});

test("l5d-client-id of a client is taken out", async () => {
  const app = await world.app("http1", "seen", world.proxy.ip);
  world.proxy.inbound = app.at;
  const text = "GET / HTTP/1.1\r\nhost: a\r\nl5d-client-id: spoof\r\n\r\n";
  await exchange(world.proxy.inboundAt, text, /seen/);
  assert.is(app.got[0]?.headers["l5d-client-id"], undefined);
});

test.run();
