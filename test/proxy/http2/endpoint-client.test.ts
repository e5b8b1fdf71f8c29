// The client side of HTTP/2 against the runtime's own server, over real sockets.

import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { netProxy, type NetProxyOptions } from "../../support/net-proxy.ts";
import { ask } from "../../mesh/support/http.ts";
import { eventually } from "../../mesh/support/waiting.ts";
import { freePort } from "../../support/free-port.ts";

type Handler = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;

/** An HTTP/2 server without TLS, and a proxy before it. */
async function before(
  handle: Handler,
  o: Partial<NetProxyOptions> & { readonly settings?: http2.Settings } = {},
) {
  const server = http2.createServer({ settings: o.settings ?? {} });
  const sessions = new Set<http2.ServerHttp2Session>();
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  let opened = 0;
  server.on("session", (session: http2.ServerHttp2Session) => {
    opened++;
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
    sessions,
    /** Breaks its connections. */
    cut: () => [...sockets].forEach((socket) => socket.destroy()),
    /** Connections that the server had, ended ones included. */
    opened: () => opened,
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

/** Raw bytes to the proxy; what came back until the connection ended or `until` matched. */
async function raw(port: number, text: string, until: RegExp): Promise<string> {
  const socket = net.connect({ host: "127.0.0.1", port });
  let got = "";
  socket.setEncoding("latin1").on("data", (piece: string) => (got += piece)).on("error", () => {});
  socket.write(text, "latin1");
  try {
    return await eventually("the answer", () => {
      assert.match(got, until);
      return got;
    });
  } finally {
    socket.destroy();
  }
}

test("responses without a body, of unknown length and to HEAD end where they should", async () => {
  await using t = await before((stream, headers) => {
    const path = headers[":path"];
    if (path === "/204") stream.respond({ ":status": 204 }, { endStream: true });
    else if (path === "/304") stream.respond({ ":status": 304, etag: "x" }, { endStream: true });
    else if (path === "/empty") stream.respond({ ":status": 200 }, { endStream: true });
    else if (headers[":method"] === "HEAD") {
      stream.respond({ ":status": 200, "content-length": 7 }, { endStream: true });
    } else {
      stream.respond({ ":status": 200 });
      stream.end("unknown");
    }
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  try {
    for (
      const [method, path, status, body] of [
        ["GET", "/204", 204, ""],
        ["GET", "/304", 304, ""],
        ["GET", "/empty", 200, ""],
        ["HEAD", "/head", 200, ""],
        ["GET", "/", 200, "unknown"],
      ] as const
    ) {
      const answer = await t.get({ method, path, agent });
      assert.equal([answer.status, answer.body], [status, body], path);
      if (method === "HEAD") assert.is(answer.headers["content-length"], "7");
    }
  } finally {
    agent.destroy();
  }
  assert.is(t.opened(), 1);
});

test("trailers pass in both directions", async () => {
  const seen: http2.IncomingHttpHeaders[] = [];
  await using t = await before(async (stream) => {
    stream.on("trailers", (trailers) => seen.push(trailers));
    const body = await bodyOf(stream);
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "9" }));
    stream.end(body);
  });
  const got = await raw(
    t.proxy.port,
    "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\nconnection: te\r\nte: trailers\r\n\r\n" +
      "3\r\nabc\r\n0\r\nX-Up: 1\r\nhost: evil\r\n\r\n",
    /0\r\nx-sum: 9\r\n\r\n$/,
  );
  assert.match(got, /^HTTP\/1\.1 200 [^]*\r\n3\r\nabc\r\n0\r\n/);
  assert.is(seen[0]!["x-up"], "1");
  assert.is(seen[0]!["host"], undefined);
});

test("interim responses pass, and a client that waits for 100 gets it", async () => {
  await using t = await before((stream, headers) => {
    if (headers["expect"] === "100-continue") stream.additionalHeaders({ ":status": 100 });
    else stream.additionalHeaders({ ":status": 103, link: "</a.css>" });
    stream.respond({ ":status": 200 });
    stream.end("ok");
  });
  const got = await raw(t.proxy.port, "GET / HTTP/1.1\r\nhost: web\r\n\r\n", /0\r\n\r\n$/);
  assert.match(got, /^HTTP\/1\.1 103 [^]*link: <\/a\.css>\r\n\r\nHTTP\/1\.1 200 /);
  const waiting = await raw(
    t.proxy.port,
    "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
    /HTTP\/1\.1 100 /,
  );
  assert.match(waiting, /^HTTP\/1\.1 100 Continue\r\n\r\n/);
});

test("bodies much larger than every window pass whole in both directions", async () => {
  await using t = await before((stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  const size = 3_000_000;
  const answer = await t.get({ method: "POST" }, "0123456789".repeat(size / 10));
  assert.is(answer.body.length, size);
  assert.ok(answer.body === "0123456789".repeat(size / 10));
});

test("requests at once share one connection, or as many as the server's limit needs", async () => {
  const waiting: http2.ServerHttp2Stream[] = [];
  const answerAll = () => {
    for (const stream of waiting.splice(0)) {
      stream.respond({ ":status": 200 });
      stream.end("ok");
    }
  };
  const hold: Handler = (stream) => void waiting.push(stream);
  const ask = (t: Awaited<ReturnType<typeof before>>, count: number) =>
    Promise.all(Array.from({ length: count }, () => t.get()));
  {
    await using t = await before(hold);
    const answers = ask(t, 40);
    await eventually("all are there at once", () => assert.is(waiting.length, 40));
    answerAll();
    for (const { status } of await answers) assert.is(status, 200);
    assert.is(t.opened(), 1);
  }
  {
    await using t = await before(hold, { settings: { maxConcurrentStreams: 4 } });
    const first = t.get(); // the limit is known from here on
    await eventually("the first", () => assert.is(waiting.length, 1));
    answerAll();
    await first;
    const answers = ask(t, 16);
    await eventually("all are there at once", () => assert.is(waiting.length, 16));
    answerAll();
    for (const { status } of await answers) assert.is(status, 200);
    assert.ok(t.opened() >= 4 && t.opened() <= 16, `${t.opened()} connections`);
  }
});

test("streams that were refused go out again with their body, whatever the method", async () => {
  const bodies: string[] = [];
  let refusals = 2;
  await using t = await before(async (stream) => {
    bodies.push(await bodyOf(stream));
    if (refusals-- > 0) return stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    stream.respond({ ":status": 200 });
    stream.end("ok");
  });
  assert.is((await t.get({ method: "POST" }, "once")).status, 200);
  assert.equal(bodies, ["once", "once", "once"]);
  refusals = 100;
  const refused = await t.get({ method: "POST" }, "never");
  assert.is(refused.status, 502);
  assert.match(refused.headers["l5d-proxy-error"]!, /refused the request \(REFUSED_STREAM\)$/);
});

test("streams above a GOAWAY's last one go out again, those below it finish", async () => {
  let first: http2.ServerHttp2Stream | null = null;
  let streams = 0;
  await using t = await before((stream, headers) => {
    streams++;
    if (headers[":path"] === "/first") {
      first = stream;
      return;
    }
    if (headers[":path"] === "/second" && streams === 2) {
      stream.session!.goaway(http2.constants.NGHTTP2_NO_ERROR, first!.id!);
      return;
    }
    stream.respond({ ":status": 200 });
    stream.end("again");
  });
  const below = t.get({ path: "/first" });
  await eventually("the first stream", () => assert.ok(first !== null));
  const above = await t.get({ path: "/second", method: "POST" }, "body");
  assert.equal([above.status, above.body], [200, "again"], above.headers["l5d-proxy-error"]);
  first!.respond({ ":status": 200 });
  first!.end("below");
  assert.is((await below).body, "below");
  assert.is(t.opened(), 2);
  assert.is(streams, 3);
});

test("a reset is a 502 that names its code, and only a safe request survives a lost connection", async () => {
  let requests = 0;
  await using t = await before((stream, headers) => {
    requests++;
    if (headers[":path"] === "/reset") return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    if (headers[":path"] === "/lose" && requests % 2 === 0) return t.cut();
    stream.respond({ ":status": 200 });
    stream.end("ok");
  });
  const reset = await t.get({ path: "/reset" });
  assert.is(reset.status, 502);
  assert.match(reset.headers["l5d-proxy-error"]!, /reset the stream \(INTERNAL_ERROR\)$/);
  const safe = await t.get({ path: "/lose" });
  assert.equal([safe.status, requests], [200, 3], "sent again on a new connection");
  const unsafe = await t.get({ path: "/lose", method: "POST" }, "x");
  assert.equal([unsafe.status, requests], [502, 4]);
});

test("a client that goes away cancels its stream", async () => {
  let code = -1;
  let begun = false;
  await using t = await before((stream) => {
    begun = true;
    stream.on("close", () => (code = stream.rstCode));
  });
  const client = net.connect({ host: "127.0.0.1", port: t.proxy.port });
  client.on("error", () => {});
  client.write("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
  await eventually("the stream", () => assert.ok(begun));
  client.resetAndDestroy(); // an end alone may be a client that still listens
  await eventually("the reset", () => assert.is(code, http2.constants.NGHTTP2_CANCEL));
  assert.is(t.sessions.size, 1, "the connection stays");
});

test("an endpoint that is not there in time is a 504, one that does not speak HTTP/2 a 502", async () => {
  const gone = await freePort();
  const proxy = await netProxy({
    to: [{ ip: "127.0.0.1", port: gone }],
    protocol: "http2",
    failfastMs: 300,
  });
  const old = http.createServer((_request, response) => response.end("old"));
  old.on("clientError", (_e, socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  old.listen(0, "127.0.0.1");
  await once(old, "listening");
  const { port } = old.address() as AddressInfo;
  const odd = await netProxy({ to: [{ ip: "127.0.0.1", port }], protocol: "http2" });
  try {
    const get = (of: { port: number }) =>
      ask({ host: "127.0.0.1", port: of.port, path: "/", agent: false });
    const none = await get(proxy);
    assert.is(none.status, 504);
    assert.match(none.headers["l5d-proxy-error"]!, /Connect to 127\.0\.0\.1:\d+ failed: /);
    assert.is((await get(odd)).status, 502);
    assert.equal([...proxy.defects, ...odd.defects], []);
  } finally {
    await proxy.close();
    await odd.close();
    old.closeAllConnections();
    await new Promise((done) => old.close(done));
  }
});

test("an endpoint that leaves its set ends its connection with the last request", async () => {
  let held: http2.ServerHttp2Stream | null = null;
  await using t = await before((stream) => (held = stream));
  const answer = t.get();
  await eventually("the stream", () => assert.ok(held !== null));
  t.proxy.driver.run(() => {
    for (const target of t.proxy.targets.all()) {
      for (const endpoint of target.endpoints) endpoint.client.close();
    }
  });
  held!.respond({ ":status": 200 });
  held!.end("whole");
  assert.is((await answer).body, "whole");
  await eventually("the end of the connection", () => assert.is(t.sessions.size, 0));
});

test.run();
