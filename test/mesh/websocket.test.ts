// WebSockets and other upgrades between two meshed proxies: streams of one HTTP/2 connection (RFC 8441),
// beside ordinary requests. The client is the runtime's own; application and client see HTTP/1.

import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { netProxy } from "../support/net-proxy.ts";
import { testUnless } from "../support/skip.ts";
import { ask } from "./support/http.ts";
import { OUTBOUND, type TwoProxies, twoProxies } from "./support/two-proxies.ts";
import { eventually } from "./support/waiting.ts";
import {
  closeWebSocket,
  nextMessage,
  openWebSocket,
  type WebSocketApp,
  webSocketApp,
} from "./support/websocket.ts";

async function withMesh(use: (app: WebSocketApp, mesh: TwoProxies) => Promise<void>) {
  const app = await webSocketApp();
  try {
    await using mesh = await twoProxies(app.port);
    await use(app, mesh);
  } finally {
    await app.close();
  }
}

/** Of 256 KiB: more than sockets and windows on the way hold. */
const PIECES = 60;

/** An upgrade by hand: what came back, and the socket. */
function upgrade(port: number, path: string, protocol = "echo") {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  const seen = { text: "", ended: false, socket };
  socket.setEncoding("latin1").on("data", (piece: string) => (seen.text += piece));
  socket.on("end", () => (seen.ended = true)).on("error", () => (seen.ended = true));
  socket.write(
    `GET ${path} HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: ${protocol}\r\n\r\n`,
  );
  return seen;
}

test("several WebSockets and requests go side by side over one HTTP/2 connection", async () => {
  await withMesh(async (app, mesh) => {
    const url = `ws://127.0.0.1:${mesh.port}/chat`;
    const sockets = await Promise.all(Array.from({ length: 8 }, () => openWebSocket(url, ["a"])));
    for (const [i, socket] of sockets.entries()) {
      const answer = nextMessage(socket);
      socket.send(`hello ${i}`);
      assert.is(await answer, `hello ${i}`);
      const { status, body } = await ask({ host: "127.0.0.1", port: mesh.port, path: "/" });
      assert.equal([status, body], [200, "plain"]);
    }
    const large = new Uint8Array(1_000_000).map((_, i) => i * 7);
    await Promise.all(sockets.map(async (socket) => {
      const answer = nextMessage(socket);
      socket.send(large);
      assert.equal(new Uint8Array(await answer as ArrayBuffer), large);
    }));
    assert.is(mesh.connections(), 1);
    const { headers } = app.asked[0]!;
    assert.is(headers["l5d-client-id"], OUTBOUND);
    assert.is(headers["sec-websocket-version"], "13");
    assert.is(headers["sec-websocket-protocol"], "a");
    assert.is(headers["l5d-orig-proto"], undefined);
    for (const socket of sockets) assert.is(await closeWebSocket(socket), 1000);
    await eventually(
      "the application's sockets end",
      () => assert.ok(app.sockets.every((socket) => socket.destroyed)),
    );
  });
});

test("one whose client does not read holds up nobody else", async () => {
  await withMesh(async (app, mesh) => {
    const slow = Array.from({ length: 30 }, () => upgrade(mesh.port, "/raw"));
    await eventually(
      "the tunnels",
      () => slow.forEach(({ text }) => assert.match(text, /^HTTP\/1\.1 101 /)),
    );
    for (const { socket } of slow) socket.pause();
    // The application sends until nobody takes any more.
    const piece = new Uint8Array(256 * 1024);
    let taken = 0;
    for (const socket of app.sockets) {
      for (let i = 0; i < PIECES; i++) socket.write(piece, () => taken++);
    }
    let last = -1;
    await eventually("back-pressure reaches the application", async () => {
      const before = last;
      last = taken;
      await new Promise((done) => setTimeout(done, 200));
      assert.is(taken, before, "still sending");
    }, 30_000);
    assert.ok(taken < PIECES * app.sockets.length);
    const fast = await openWebSocket(`ws://127.0.0.1:${mesh.port}/chat`);
    for (let i = 0; i < 20; i++) {
      const answer = nextMessage(fast);
      fast.send("x".repeat(10_000));
      assert.is((await answer as string).length, 10_000);
    }
    const { status } = await ask({ host: "127.0.0.1", port: mesh.port, path: "/" });
    assert.is(status, 200);
    assert.is(mesh.connections(), 1);
    // What waited is all there once it is read.
    slow[0]!.socket.resume();
    await eventually(
      "the rest",
      () => assert.ok(slow[0]!.text.length > PIECES * piece.length, `${slow[0]!.text.length}`),
      30_000,
    );
    await closeWebSocket(fast);
    for (const { socket } of slow) socket.destroy();
  });
});

test("each half of a tunnel ends by itself", async () => {
  await withMesh(async (_app, mesh) => {
    const tunnel = upgrade(mesh.port, "/raw", "something/1.0");
    await eventually("the tunnel", () => assert.match(tunnel.text, /\r\n\r\n$/));
    assert.match(tunnel.text, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    assert.match(tunnel.text, /upgrade: something\/1\.0\r\n/);
    tunnel.socket.end("last words");
    await eventually("the answer", () => assert.ok(tunnel.ended));
    assert.match(tunnel.text, /last wordsbye$/);
    assert.is(mesh.connections(), 1);
  });
});

test("a refusal is the application's own, whatever its status", async () => {
  await withMesh(async (_app, mesh) => {
    const refused = upgrade(mesh.port, "/refused", "websocket");
    await eventually("403", () => assert.match(refused.text, /^HTTP\/1\.1 403 [^]*\r\n\r\nno$/));
    const plain = upgrade(mesh.port, "/plain", "websocket");
    await eventually("200", () => assert.match(plain.text, /^HTTP\/1\.1 200 [^]*\r\n\r\nno$/));
    assert.not.match(plain.text, /l5d-/);
    for (const { socket } of [refused, plain]) socket.destroy();
    assert.is(mesh.connections(), 1);
  });
});

test("an application that breaks off breaks off the tunnel", async () => {
  await withMesh(async (app, mesh) => {
    const tunnel = upgrade(mesh.port, "/raw");
    await eventually("the tunnel", () => assert.match(tunnel.text, /\r\n\r\n$/));
    app.sockets[0]!.resetAndDestroy();
    await eventually("its end", () => assert.ok(tunnel.ended));
    assert.not.match(tunnel.text, /bye/);
  });
});

/** Deno's node:http2 client knows no extended CONNECT. */
const NO_CLIENT = process.versions.deno === undefined
  ? null
  : "Deno's node:http2 sends no extended CONNECT";

testUnless(
  NO_CLIENT,
  test,
  "an HTTP/2 client's WebSocket reaches an application of HTTP/1",
  async () => {
    const app = await webSocketApp();
    const proxy = await netProxy({ to: [{ ip: "127.0.0.1", port: app.port }] });
    const client = http2.connect(`http://127.0.0.1:${proxy.port}`);
    try {
      await once(client, "remoteSettings");
      assert.ok(client.remoteSettings.enableConnectProtocol);
      const stream = client.request({
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":path": "/chat",
        "sec-websocket-version": "13",
      });
      let got = Buffer.alloc(0);
      stream.on("data", (piece: Uint8Array) => (got = Buffer.concat([got, piece])));
      const [head] = await once(stream, "response") as [http2.IncomingHttpHeaders];
      assert.equal([head[":status"], head["sec-websocket-accept"]], [200, undefined]);
      // "hi", with a mask of nothing
      stream.write(Uint8Array.of(0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69));
      await eventually("the echo", () => assert.equal([...got], [0x81, 2, 0x68, 0x69]));
      const ended = once(stream, "end");
      stream.end();
      await ended;
      assert.match(app.asked[0]!.headers["sec-websocket-key"]!, /^[A-Za-z0-9+/]{22}==$/);
      const refused = client.request({
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":path": "/refused",
      });
      const [no] = await once(refused.resume(), "response") as [http2.IncomingHttpHeaders];
      assert.is(no[":status"], 403);
      refused.close();
    } finally {
      client.destroy();
      await proxy.close();
      await app.close();
    }
    assert.equal(proxy.defects, []);
  },
);

test.run();
