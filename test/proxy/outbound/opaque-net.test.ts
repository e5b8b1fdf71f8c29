// Opaque connections over real sockets, in plain text and over mutual TLS: they spread over endpoints by
// how many are open, and the end of either direction is heard on the other side while bytes still flow.

import { once } from "node:events";
import net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseSamples } from "../../../src/cli/demo-scrape.ts";
import type { Endpoint } from "../../../src/model/endpoint.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { eventually, sum } from "../../mesh/support/waiting.ts";
import { material } from "../../support/driver-fixture.ts";
import { type NetProxy, netProxy } from "../../support/net-proxy.ts";
import { endpoint } from "../../support/outbound-fixture.ts";
import { createTestCa } from "../../support/test-ca.ts";

/** A server in the test's hands: its open connections, and what each has heard. */
async function startServer() {
  const open: { readonly socket: net.Socket; heard: string; ended: boolean }[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const one = { socket, heard: "", ended: false };
    open.push(one);
    socket.on("data", (bytes: Uint8Array) => one.heard += new TextDecoder().decode(bytes));
    socket.on("end", () => one.ended = true);
    socket.on("error", () => {});
    socket.on("close", () => open.splice(open.indexOf(one), 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    open,
    addr: { ip: "127.0.0.1", port: (server.address() as net.AddressInfo).port },
    close() {
      server.close();
      for (const { socket } of [...open]) socket.destroy();
    },
  };
}

/** A proxy of the client before two servers, each behind a proxy of its own where `meshed`. */
async function fixture(meshed: boolean) {
  const servers = [await startServer(), await startServer()];
  const ca = await createTestCa();
  const proxies: NetProxy[] = [];
  const to: Endpoint[] = [];
  for (const { addr } of servers) {
    if (!meshed) {
      to.push(endpoint(addr));
      continue;
    }
    const identity = await material(ca, "server.test");
    const inbound = await netProxy({ to: [addr], inbound: true, identity });
    proxies.push(inbound);
    const id = { name: "server.test", serverName: "server.test" };
    to.push(endpoint(inbound.addr, { identity: id }));
  }
  const outbound = await netProxy({
    to,
    ...(meshed ? { identity: await material(ca, "client.test") } : {}),
  });
  proxies.push(outbound);
  return {
    servers,
    async connect() {
      const socket = net.connect({ host: "127.0.0.1", port: outbound.port, allowHalfOpen: true });
      const client = { socket, heard: "", ended: false };
      socket.on("data", (bytes: Uint8Array) => client.heard += new TextDecoder().decode(bytes));
      socket.on("end", () => client.ended = true);
      socket.on("error", () => {});
      await once(socket, "connect");
      return client;
    },
    /** The server that has heard `text`. */
    heardBy: (text: string) =>
      eventually(`a server hears ${text}`, () => {
        const found = servers.flatMap((s) => s.open).find(({ heard }) => heard === text);
        assert.ok(found !== undefined);
        return found!;
      }),
    async end() {
      await eventually("no connection is open", () => {
        for (const proxy of proxies) {
          const samples = parseSamples(exposition(proxy.metrics.sheet, []), () => true);
          assert.is(sum(samples, "tcp_open_connections"), 0);
        }
      });
      for (const proxy of proxies.reverse()) {
        assert.equal(proxy.defects, []);
        await proxy.close();
      }
      for (const server of servers) server.close();
    },
  };
}

for (const meshed of [false, true]) {
  const how = meshed ? "over mutual TLS" : "in plain text";

  test(`${how}: connections go where fewer are open`, async () => {
    const f = await fixture(meshed);
    const clients = [];
    for (let i = 0; i < 10; i++) {
      const client = await f.connect();
      client.socket.write(`\0client ${i}`);
      await f.heardBy(`\0client ${i}`);
      clients.push(client);
    }
    assert.equal(f.servers.map((s) => s.open.length), [5, 5]);
    for (const { socket } of [...clients, ...f.servers.flatMap((s) => [...s.open])]) socket.end();
    await f.end();
  });

  test(`${how}: a client that ends first still hears the server`, async () => {
    const f = await fixture(meshed);
    const client = await f.connect();
    client.socket.end("\0one");
    const server = await f.heardBy("\0one");
    await eventually("the server hears the end", () => assert.ok(server.ended));
    for (const text of ["still ", "here"]) {
      server.socket.write(text);
      await eventually("the client hears it", () => assert.ok(client.heard.endsWith(text)));
    }
    assert.not(client.ended);
    server.socket.end();
    await eventually("the client hears the end", () => assert.ok(client.ended));
    assert.is(client.heard, "still here");
    await f.end();
  });

  test(`${how}: a server that ends first still hears the client`, async () => {
    const f = await fixture(meshed);
    const client = await f.connect();
    client.socket.write("\0one");
    const server = await f.heardBy("\0one");
    server.socket.end("goodbye");
    await eventually("the client hears the end", () => assert.ok(client.ended));
    assert.is(client.heard, "goodbye");
    client.socket.write(" two");
    await f.heardBy("\0one two");
    client.socket.end(" three");
    await eventually("the server hears the end", () => assert.ok(server.ended));
    assert.is(server.heard, "\0one two three");
    await f.end();
  });

  // TLS has no way to tell a reset: there it is the end of both directions, one after the other.
  test(`${how}: a reset of either side is heard by the other`, async () => {
    const f = await fixture(meshed);
    const client = await f.connect();
    client.socket.write("\0one");
    const left = await f.heardBy("\0one");
    client.socket.resetAndDestroy();
    await eventually("the server hears it", () => assert.ok(left.ended || left.socket.destroyed));
    left.socket.end();
    const other = await f.connect();
    other.socket.write("\0two");
    const server = await f.heardBy("\0two");
    server.socket.resetAndDestroy();
    await eventually("the client hears it", () => {
      assert.ok(other.ended || other.socket.destroyed);
    });
    other.socket.end();
    await f.end();
  });
}

test.run();
