// Clients that keep one HTTP/2 connection for ever: each of their requests is balanced by itself, so
// that they follow the endpoints of their target when those change.

import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ask } from "../../mesh/support/http.ts";
import { eventually } from "../../mesh/support/waiting.ts";
import { netProxy } from "../../support/net-proxy.ts";
import { endpoint, FakeDiscovery, snapshot } from "../../support/outbound-fixture.ts";

/** An application that says its name; `/hold` waits until `release`. */
async function app(name: string) {
  const held: http2.ServerHttp2Stream[] = [];
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createServer();
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  const answer = (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ":status": 200 });
    stream.end(name);
  };
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on("error", () => {});
    if (headers[":path"] === "/hold") held.push(stream);
    else answer(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    addr: { ip: "127.0.0.1", port: (server.address() as AddressInfo).port },
    held,
    sessions,
    release: () => held.splice(0).forEach(answer),
    async close() {
      for (const session of sessions) session.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

test("one connection of a client follows its target's endpoints, without losing a request", async () => {
  const [a, b] = [await app("a"), await app("b")];
  const set = (...apps: (typeof a)[]) =>
    snapshot({ exists: true, endpoints: apps.map(({ addr }) => endpoint(addr)) });
  const discovery = new FakeDiscovery(set(a));
  const proxy = await netProxy({ to: [a.addr], protocol: "same", discovery });
  const client = http2.connect(`http://127.0.0.1:${proxy.port}`);
  const get = async (path: string): Promise<string> => {
    const stream = client.request({ ":path": path });
    let text = "";
    stream.setEncoding("utf8").on("data", (piece: string) => (text += piece));
    await once(stream, "end");
    return text;
  };
  const change = (...apps: (typeof a)[]) => proxy.driver.run(() => discovery.set(set(...apps)));
  try {
    assert.is(await get("/"), "a");
    change(a, b);
    const both = await Promise.all(Array.from({ length: 40 }, () => get("/")));
    assert.equal([...new Set(both)].sort(), ["a", "b"]);
    change(a);
    const held = get("/hold");
    await eventually("a has it", () => assert.is(a.held.length, 1));
    change(b);
    assert.equal(
      new Set(await Promise.all(Array.from({ length: 10 }, () => get("/")))),
      new Set("b"),
    );
    assert.is(a.sessions.size, 1, "what it has is still under way");
    a.release();
    assert.is(await held, "a");
    await eventually("its connection ends", () => assert.is(a.sessions.size, 0));
    assert.is(await get("/"), "b");
    assert.not(client.closed);
  } finally {
    client.destroy();
    await proxy.close();
    await Promise.all([a.close(), b.close()]);
  }
  assert.equal(proxy.defects, []);
});

test("where the policy says HTTP/2, a client of HTTP/1 reaches its endpoints too", async () => {
  const a = await app("a");
  const ofHttp2 = { ...snapshot({ exists: true, endpoints: [endpoint(a.addr)] }), http2Only: true };
  const discovery = new FakeDiscovery({ ...ofHttp2, http2Only: false });
  const to = [a.addr];
  const proxy = await netProxy({ to, discovery });
  try {
    const get = () => ask({ host: "127.0.0.1", port: proxy.port, path: "/", agent: false });
    assert.is((await get()).status, 502, "it does not speak HTTP/1");
    proxy.driver.run(() => discovery.set(ofHttp2));
    assert.is((await get()).body, "a");
  } finally {
    await proxy.close();
    await a.close();
  }
  assert.equal(proxy.defects, []);
});

test.run();
