import net from "node:net";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Chan } from "../../src/core/driver.ts";
import { MeshTls, TRANSPORT_ALPN } from "../../src/runtime/mesh-tls.ts";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import { exchange, fixture, material, MESH } from "../support/driver-fixture.ts";
import { createTestCa } from "../support/test-ca.ts";

test("mesh TLS shows both sides who the other is", async () => {
  const f = await fixture(true);
  const client = new MeshTls();
  client.update(await material(f.ca, "client.test"));
  const driver = new NetDriver(client);
  const data = new Uint8Array(200_000).map((_, i) => i);
  const { got, why, peer } = await exchange(driver, f.plain({ tls: MESH }), data);
  assert.is(why, null);
  assert.ok(Buffer.from(got).equals(Buffer.from(data)));
  assert.equal(peer?.tls, { identity: "server.test", alpn: TRANSPORT_ALPN });
  assert.equal(f.peers[0]?.tls, { identity: "client.test", alpn: TRANSPORT_ALPN });
  driver.destroy();
  await f.close();
});

test("a server with another identity or another root is refused by the client", async () => {
  const f = await fixture(true);
  const client = new MeshTls();
  client.update(await material(f.ca, "client.test"));
  const driver = new NetDriver(client);
  const other = await exchange(
    driver,
    f.plain({ tls: { ...MESH, identity: "other.test" } }),
    new Uint8Array(1),
  );
  assert.is(other.why?.kind, "identity");
  assert.match(other.why?.message ?? "", /the server is server\.test, not other\.test/);
  const strange = new MeshTls();
  strange.update(await material(f.ca, "client.test", await createTestCa("another root")));
  const driver2 = new NetDriver(strange);
  const untrusted = await exchange(driver2, f.plain({ tls: MESH }), new Uint8Array(1));
  assert.is(untrusted.why?.kind, "identity");
  driver.destroy();
  driver2.destroy();
  await f.close();
});

test("a client whose certificate is from another root is refused and counted", async () => {
  const f = await fixture(true);
  const foreign = await createTestCa("foreign");
  const client = new MeshTls();
  client.update({ ...await material(foreign, "client.test"), anchorsPem: f.ca.pem });
  const driver = new NetDriver(client);
  const { got } = await exchange(driver, f.plain({ tls: MESH }), new Uint8Array(10));
  assert.is(got.length, 0);
  assert.is(f.peers.length, 0);
  assert.match(f.refused.join(), /does not chain to the trust anchors/);
  driver.destroy();
  await f.close();
});

test("a client without certificate has no identity, and plain text is told apart", async () => {
  const f = await fixture(true);
  const nobody = tls.connect({
    host: "127.0.0.1",
    port: f.listener.addr.port,
    servername: "server.test",
    ca: f.ca.pem,
    checkServerIdentity: () => undefined,
  });
  await new Promise((resolve) => nobody.once("secureConnect", resolve));
  nobody.write("x");
  await new Promise((resolve) => nobody.once("data", resolve));
  assert.equal(f.peers[0]?.tls, { identity: null, alpn: null });
  nobody.destroy();
  const { got } = await exchange(
    f.driver,
    f.plain(),
    new TextEncoder().encode("GET / HTTP/1.1\r\n"),
  );
  assert.is(got.length, 16);
  assert.is(f.peers[1]?.tls, null);
  await f.close();
});

test("a ClientHello in tiny pieces is still mesh TLS", async () => {
  const f = await fixture(true);
  const client = await material(f.ca, "client.test");
  // A relay that cuts what the client sends into 40-byte pieces.
  const relay = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect(f.listener.addr.port, "127.0.0.1", () => {
      far.setNoDelay(true);
      near.on("data", (data: Uint8Array) => {
        for (let at = 0; at < data.length; at += 40) far.write(data.subarray(at, at + 40));
      });
    });
    far.pipe(near);
    near.on("end", () => far.end());
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const mesh = new MeshTls();
  mesh.update(client);
  const driver = new NetDriver(mesh);
  const addr = { ip: "127.0.0.1", port: (relay.address() as net.AddressInfo).port };
  const { got, why } = await exchange(
    driver,
    { ...f.plain({ tls: MESH }), addr },
    new Uint8Array(5),
  );
  assert.is(why, null);
  assert.is(got.length, 5);
  driver.destroy();
  await f.close();
  relay.close();
});

test("TLS for another name is not terminated here", async () => {
  const f = await fixture(true);
  const other = tls.connect({
    host: "127.0.0.1",
    port: f.listener.addr.port,
    servername: "somebody.else",
    rejectUnauthorized: false,
  });
  await new Promise((resolve) => other.once("error", resolve));
  assert.is(f.peers[0]?.tls, null, "passed on as opaque bytes");
  await f.close();
});

test("a certificate is replaced for new connections while old ones go on", async () => {
  const f = await fixture(true);
  const client = new MeshTls();
  client.update(await material(f.ca, "client.test"));
  const driver = new NetDriver(client);
  const talk = await new Promise<{ ch: Chan; say: (text: string) => Promise<string> }>(
    (resolve) => {
      let heard: (text: string) => void = () => {};
      const ch = driver.connect(f.plain({ tls: MESH }), {
        opened: () =>
          resolve({
            ch,
            say: (text) =>
              new Promise((done) => {
                heard = done;
                driver.run(() => driver.send(ch, new TextEncoder().encode(text), 0, text.length));
              }),
          }),
        feed(_ch, buf, from, to) {
          heard(new TextDecoder().decode(buf.subarray(from, to)));
          return to - from;
        },
        writable() {},
        ended() {},
        closed() {},
      });
    },
  );
  assert.is(await talk.say("one"), "one");
  f.mesh.update(await material(f.ca, "server.test"));
  client.update(await material(f.ca, "client-2.test"));
  assert.is(await talk.say("two"), "two");
  const { why } = await exchange(driver, f.plain({ tls: MESH }), new Uint8Array(1));
  assert.is(why, null);
  assert.is(f.peers.at(-1)?.tls?.identity, "client-2.test");
  driver.destroy();
  await f.close();
});

test("a session ticket of a lax server of the process does not open the mesh server", async () => {
  const f = await fixture(true);
  // The lax server: any certificate, as a server that authorizes by itself would have.
  const own = await material(f.ca, "server.test");
  const lax = tls.createServer({
    key: own.keyPem,
    cert: own.certPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  }, (s) => {
    s.on("error", () => {});
    s.end("hello");
  });
  await new Promise<void>((resolve) => lax.listen(0, "127.0.0.1", resolve));
  const attacker = await createTestCa("attacker");
  const forged = await material(attacker, "admin.test");
  let session: Buffer | undefined;
  const first = tls.connect({
    host: "127.0.0.1",
    port: (lax.address() as net.AddressInfo).port,
    servername: "server.test",
    key: forged.keyPem,
    cert: forged.certPem,
    rejectUnauthorized: false,
  });
  first.on("session", (ticket) => session = ticket);
  first.on("error", () => {});
  first.resume();
  await new Promise((resolve) => first.once("close", resolve));
  const second = tls.connect({
    host: "127.0.0.1",
    port: f.listener.addr.port,
    servername: "server.test",
    key: forged.keyPem,
    cert: forged.certPem,
    rejectUnauthorized: false,
    ...(session === undefined ? {} : { session }),
  });
  second.on("error", () => {});
  second.write("x");
  second.resume();
  await new Promise((resolve) => second.once("close", resolve));
  assert.is(f.peers.length, 0, "the forged client got in");
  assert.match(f.refused.join(), /resumed|does not chain/);
  lax.close();
  await f.close();
});

test("a silent server ends a connect after its time", async () => {
  const f = await fixture(true);
  // Accepts and never answers the ClientHello.
  const silent = net.createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const mesh = new MeshTls();
  mesh.update(await material(f.ca, "client.test"));
  const driver = new NetDriver(mesh);
  const addr = { ip: "127.0.0.1", port: (silent.address() as net.AddressInfo).port };
  const { why } = await exchange(
    driver,
    { ...f.plain({ tls: MESH, timeoutMs: 100 }), addr },
    new Uint8Array(1),
  );
  assert.is(why?.kind, "connect-timeout");
  driver.destroy();
  silent.close();
  await f.close();
});

test.run();
