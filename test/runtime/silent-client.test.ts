// Clients that say nothing where mesh TLS is terminated, over real sockets: a server that speaks first
// is heard, and who shows a certificate late is still taken for who it is.

import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Chan, ChanError, Core, Peer } from "../../src/core/driver.ts";
import { MeshTls, TRANSPORT_ALPN } from "../../src/runtime/mesh-tls.ts";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import { listen } from "../../src/runtime/net-listener.ts";
import { eventually } from "../mesh/support/waiting.ts";
import { material } from "../support/driver-fixture.ts";
import { createTestCa } from "../support/test-ca.ts";

const text = new TextEncoder();

/** A listener that echoes, and serves silent clients if `allow`; `greets` them at once if asked to. */
async function fixture(o: { readonly allow: boolean; readonly greets?: boolean }) {
  const ca = await createTestCa();
  const mesh = new MeshTls();
  mesh.update(await material(ca, "server.test"));
  const driver = new NetDriver(mesh);
  const defects: unknown[] = [];
  driver.onDefect = (e) => defects.push(e);
  const peers: Peer[] = [];
  const silent: Peer[] = [];
  const closed: (ChanError | null)[] = [];
  let channel: Chan = 0;
  let asked = 0;
  const core = (ch: Chan, greeting: string): Core => ({
    opened() {
      channel = ch;
      const bytes = text.encode(greeting);
      if (bytes.length > 0) driver.send(ch, bytes, 0, bytes.length);
    },
    feed(_ch, buf, from, to) {
      driver.send(ch, buf, from, to);
      return to - from;
    },
    writable() {},
    ended: () => driver.close(ch, "flush"),
    closed: (_ch, why) => void closed.push(why),
  });
  const listener = await listen(driver, {
    at: { ip: "127.0.0.1", port: 0 },
    mesh,
    anyName: false,
    detectMs: 60_000,
    accept(ch, peer) {
      peers.push(peer);
      return core(ch, "");
    },
    acceptSilent(ch, peer) {
      asked++;
      if (!o.allow) return null;
      silent.push(peer);
      return core(ch, o.greets === true ? "hello\n" : "");
    },
    refused: () => {},
  });
  const socket = net.connect(listener.addr.port, "127.0.0.1");
  await once(socket, "connect");
  let heard = "";
  const listenTo = (from: net.Socket) =>
    from.on("data", (bytes: Uint8Array) => heard += new TextDecoder().decode(bytes));
  return {
    ca,
    driver,
    socket,
    peers,
    silent,
    closed,
    defects,
    listenTo,
    heard: () => heard,
    /** Resolves when the client has been silent so long that this was asked about more than once. */
    silence: () => eventually("the listener asks", () => assert.ok(asked >= (o.allow ? 1 : 3))),
    /** The core of the silent client speaks. */
    say: (line: string) =>
      driver.run(() => void driver.send(channel, text.encode(line), 0, line.length)),
    async close() {
      socket.destroy();
      driver.destroy();
      await listener.close();
      assert.equal(defects, []);
    },
  };
}

test("a server that speaks first is heard, and then both speak", async () => {
  const f = await fixture({ allow: true, greets: true });
  f.listenTo(f.socket);
  await eventually("the greeting", () => assert.is(f.heard(), "hello\n"));
  const [peer] = f.silent;
  assert.is(peer?.tls, null);
  assert.ok((peer?.silentMs ?? 0) >= 20);
  f.socket.write("one");
  await eventually("the echo", () => assert.is(f.heard(), "hello\none"));
  // Bytes that look like TLS are bytes now.
  f.socket.write(Uint8Array.of(0x16, 3, 1));
  await eventually("the echo", () => assert.is(f.heard(), "hello\none\x16\x03\x01"));
  f.socket.end();
  await once(f.socket, "close");
  assert.equal([f.peers.length, f.silent.length], [0, 1]);
  await f.close();
});

test("a client that speaks after it was served tentatively loses nothing", async () => {
  const f = await fixture({ allow: true });
  f.listenTo(f.socket);
  await eventually("it is served", () => assert.is(f.silent.length, 1));
  const bytes = "x".repeat(300_000);
  f.socket.end(bytes);
  await once(f.socket, "close");
  assert.is(f.heard(), bytes);
  await f.close();
});

test("a server that speaks long after, and a client that ends without a word", async () => {
  const f = await fixture({ allow: true });
  f.listenTo(f.socket);
  await eventually("it is served", () => assert.is(f.silent.length, 1));
  f.say("late\n");
  await eventually("the line", () => assert.is(f.heard(), "late\n"));
  f.socket.end();
  await once(f.socket, "close");
  await f.close();
  const other = await fixture({ allow: true });
  await eventually("it is served", () => assert.is(other.silent.length, 1));
  other.socket.resume().end();
  await once(other.socket, "close");
  await other.close();
});

test("a client that ends at once without a word is ended in order", async () => {
  const f = await fixture({ allow: false });
  f.socket.resume().end();
  await once(f.socket, "close");
  assert.is(f.peers.length, 1);
  await f.close();
});

test("a client that resets while it is served tentatively ends what was begun", async () => {
  const f = await fixture({ allow: true });
  await eventually("it is served", () => assert.is(f.silent.length, 1));
  f.socket.resetAndDestroy();
  await eventually("the core hears it", () => assert.is(f.closed.length, 1));
  await f.close();
});

for (const allow of [true, false]) {
  const what = allow ? "was served tentatively" : "may not come in plain text";
  test(`a silent client that ${what} and then shows its certificate is who it is`, async () => {
    const f = await fixture({ allow });
    await f.silence();
    const client = await material(f.ca, "client.test");
    const secure = tls.connect({
      socket: f.socket,
      servername: "server.test",
      key: client.keyPem,
      cert: client.certPem,
      ca: f.ca.pem,
      ALPNProtocols: [TRANSPORT_ALPN],
      checkServerIdentity: () => undefined,
    });
    f.listenTo(secure);
    await once(secure, "secureConnect");
    secure.write("secret");
    await eventually("the echo", () => assert.is(f.heard(), "secret"));
    assert.equal(f.peers.map((peer) => peer.tls), [{
      identity: "client.test",
      alpn: TRANSPORT_ALPN,
    }]);
    assert.equal(f.closed, allow ? [null] : [], "only what was begun for plain text has ended");
    secure.destroy();
    await f.close();
  });
}

test("where a silent client may not come, nothing is sent to it", async () => {
  const f = await fixture({ allow: false });
  f.listenTo(f.socket);
  await f.silence();
  assert.equal([f.silent.length, f.peers.length, f.heard()], [0, 0, ""]);
  f.socket.write("plain");
  await eventually("the echo", () => assert.is(f.heard(), "plain"));
  assert.is(f.peers[0]?.silentMs, undefined);
  await f.close();
});

test.run();
