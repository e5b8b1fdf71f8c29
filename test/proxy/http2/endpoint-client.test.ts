// The client side of HTTP/2 against the runtime's own server, over real sockets.

import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { netProxy, type NetProxyOptions } from "../../support/net-proxy.ts";
import { ask } from "../../mesh/support/http.ts";

type Handler = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;

/** An HTTP/2 server without TLS, and a proxy before it. */
async function before(
  handle: Handler,
  o: Partial<NetProxyOptions> & { readonly settings?: http2.Settings } = {},
) {
  const server = http2.createServer({ settings: o.settings ?? {} });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on("error", () => {});
    handle(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const proxy = await netProxy({ to: [{ ip: "127.0.0.1", port }], protocol: "http2", ...o });
  return {
    server,
    sessions,
    proxy,
    get: (more: http.RequestOptions = {}, body = "") =>
      ask({ host: "127.0.0.1", port: proxy.port, path: "/a?b", agent: false, ...more }, body),
    async [Symbol.asyncDispose]() {
      await proxy.close();
      for (const session of sessions) session.destroy();
      await new Promise((done) => server.close(done));
      assert.equal(proxy.defects, []);
    },
  };
}

/** The request's body as text, once it is whole. */
function bodyOf(stream: http2.ServerHttp2Stream): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    stream.setEncoding("utf8").on("data", (piece: string) => (text += piece));
    stream.on("end", () => resolve(text));
  });
}

test("a request of HTTP/1 goes out over HTTP/2, and its response comes back", async () => {
  const seen: http2.IncomingHttpHeaders[] = [];
  await using t = await before(async (stream, headers) => {
    seen.push(headers);
    const body = await bodyOf(stream);
    stream.respond({ ":status": 201, "x-app": "one", "content-length": body.length });
    stream.end(body);
  });
  const answer = await t.get(
    { method: "POST", headers: { "X-Mixed": "Case", host: "web" } },
    "hello",
  );
  assert.is(answer.status, 201);
  assert.is(answer.headers["x-app"], "one");
  assert.is(answer.body, "hello");
  const { ":method": method, ":path": path, ":authority": authority, "x-mixed": mixed } = seen[0]!;
  assert.equal([method, path, authority, mixed], ["POST", "/a?b", "web", "Case"]);
  assert.is(seen[0]!["connection"], undefined);
  assert.is(seen[0]!["l5d-orig-proto"], undefined, "only between proxies");
});

test.run();
