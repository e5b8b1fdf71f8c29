// HTTP/1 between two meshed proxies: it travels over one HTTP/2 connection, and the application and
// its client see HTTP/1 as it was. Real sockets, mutual TLS between, both proxies in this process.

import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ask } from "./support/http.ts";
import { OUTBOUND, twoProxies } from "./support/two-proxies.ts";
import { eventually } from "./support/waiting.ts";

interface Seen {
  readonly version: string;
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: NodeJS.Dict<string>;
}

/** An application of HTTP/1 behind two proxies. */
async function mesh(answer: (response: http.ServerResponse, seen: Seen) => void) {
  const seen: Seen[] = [];
  const app = http.createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (piece: string) => (body += piece));
    request.on("error", () => {});
    request.on("end", () => {
      const { httpVersion: version, method = "", url = "", headers, trailers } = request;
      const one = { version, method, url, headers, body, trailers };
      seen.push(one);
      answer(response, one);
    });
  });
  app.on("upgrade", (request: http.IncomingMessage, socket: net.Socket) => {
    socket.on("error", () => {});
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n" +
        `hello ${request.headers["l5d-client-id"]}\n`,
    );
    socket.on("data", (piece: Uint8Array) => socket.write(piece));
    socket.on("end", () => socket.end());
  });
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  const proxies = await twoProxies((app.address() as AddressInfo).port);
  return {
    seen,
    port: proxies.port,
    connections: () => proxies.connections(),
    get: (more: http.RequestOptions = {}, body = "") =>
      ask({ host: "127.0.0.1", port: proxies.port, path: "/a", agent: false, ...more }, body),
    async [Symbol.asyncDispose]() {
      await proxies[Symbol.asyncDispose]();
      app.closeAllConnections();
      await new Promise((done) => app.close(done));
    },
  };
}

/** Raw bytes to the proxy, and what came back once it matched. */
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

test("many clients of HTTP/1 share one connection between the proxies", async () => {
  await using t = await mesh((response, { body }) => {
    response.setHeader("x-app", "one");
    response.end(`got ${body}`);
  });
  const agent = new http.Agent({ keepAlive: true });
  try {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => t.get({ method: "POST", agent }, `${i}`)),
    );
    answers.forEach(({ status, headers, body }, i) => {
      assert.equal([status, headers["x-app"], body], [200, "one", `got ${i}`]);
      assert.is(headers["l5d-orig-proto"], undefined, "spoken between proxies only");
    });
  } finally {
    agent.destroy();
  }
  assert.is(t.connections(), 1);
  for (const { version, headers } of t.seen) {
    assert.is(version, "1.1");
    assert.is(headers["l5d-orig-proto"], undefined);
    assert.is(headers["l5d-client-id"], OUTBOUND);
    assert.match(headers.host!, /^127\.0\.0\.1:\d+$/);
  }
});

test("more requests at once than one connection takes use a few more of them", async () => {
  const waiting: http.ServerResponse[] = [];
  await using t = await mesh((response) => void waiting.push(response));
  const answers = Array.from({ length: 250 }, () => t.get());
  await eventually("all are at the application", () => assert.is(waiting.length, 250));
  for (const response of waiting) response.end("ok");
  for (const { status, body } of await Promise.all(answers)) {
    assert.equal([status, body], [200, "ok"]);
  }
  assert.ok(t.connections() >= 3 && t.connections() <= 6, `${t.connections()} connections`);
});

test("HTTP/1.0, keep-alive, HEAD and bodies of all framings come through as they were", async () => {
  await using t = await mesh((response, { method, url }) => {
    if (url === "/length") response.setHeader("content-length", 6);
    if (url.includes("absolute")) response.write("chunked ");
    if (url === "/304") response.statusCode = 304;
    if (url === "/204") response.statusCode = 204;
    response.end(method === "HEAD" || response.statusCode !== 200 ? undefined : "answer");
  });
  const old = await raw(t.port, "GET /old HTTP/1.0\r\nhost: web\r\n\r\n", /answer$/);
  assert.match(old, /^HTTP\/1\.0 200 [^]*connection: close\r\n/);
  const kept = await raw(
    t.port,
    "GET /length HTTP/1.0\r\nhost: web\r\nconnection: keep-alive\r\n\r\n" +
      "GET /length HTTP/1.0\r\nhost: web\r\nconnection: keep-alive\r\n\r\n",
    /answer[^]*answer$/,
  );
  assert.match(kept, /connection: keep-alive\r\n/);
  const mixed = await raw(
    t.port,
    "HEAD /length HTTP/1.1\r\nhost: web\r\n\r\n" +
      "GET /204 HTTP/1.1\r\nhost: web\r\n\r\n" +
      "GET /304 HTTP/1.1\r\nhost: web\r\n\r\n" +
      "POST /chunks HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" +
      "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n" +
      "GET http://web/absolute?x HTTP/1.1\r\nhost: other\r\n\r\n",
    /answer[^]*\r\n0\r\n\r\n$/,
  );
  assert.match(
    mixed,
    /^HTTP\/1\.1 200 OK\r\n[^]*content-length: 6\r\n[^]*\r\n\r\nHTTP\/1\.1 204 /i,
  );
  assert.match(mixed, /\r\n\r\nHTTP\/1\.1 304 Not Modified\r\n/);
  const chunked = t.seen.find(({ url }) => url === "/chunks")!;
  assert.equal([chunked.body, { ...chunked.trailers }], ["abcde", { "x-sum": "5" }]);
  assert.is(chunked.headers["transfer-encoding"], "chunked");
  const absolute = t.seen.find(({ url }) => url.includes("absolute"))!;
  assert.equal([absolute.url, absolute.headers.host], ["/absolute?x", "web"]);
  assert.is(t.connections(), 1);
});

test("an upgrade becomes a tunnel on the connection that requests use", async () => {
  await using t = await mesh((response) => response.end("ok"));
  await t.get();
  const socket = net.connect({ host: "127.0.0.1", port: t.port, allowHalfOpen: true });
  let got = "";
  socket.setEncoding("latin1").on("data", (piece: string) => (got += piece)).on("error", () => {});
  socket.write("GET /ws HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n");
  await eventually("the tunnel", () => assert.match(got, new RegExp(`hello ${OUTBOUND}\n$`)));
  assert.match(got, /^HTTP\/1\.1 101 [^]*upgrade: echo\r\n/);
  for (let i = 0; i < 3; i++) {
    socket.write(`ping ${i}\n`);
    await eventually("the echo", () => assert.match(got, new RegExp(`ping ${i}\n$`)));
  }
  const ended = once(socket, "end");
  socket.end();
  await ended;
  assert.is((await t.get()).status, 200);
  assert.is(t.connections(), 1);
});

test("what fails behind the other proxy is an answer of HTTP/1, never a broken connection", async () => {
  await using t = await mesh((response, { url }) => {
    if (url === "/gone") response.socket?.destroy();
    else response.end("ok");
  });
  const gone = await t.get({ path: "/gone", method: "POST" }, "x");
  assert.is(gone.status, 502);
  assert.is((await t.get()).status, 200);
  assert.is(
    t.connections(),
    2,
    "which ends the connection between the proxies in order, as Linkerd's",
  );
});

test("a response that is cut short is not taken for a whole one", async () => {
  await using t = await mesh((response) => {
    response.write("half");
    setTimeout(() => response.socket?.destroy(), 20);
  });
  const socket = net.connect({ host: "127.0.0.1", port: t.port });
  let got = "";
  let closed = false;
  socket.setEncoding("latin1").on("data", (piece: string) => (got += piece)).on("error", () => {});
  socket.on("close", () => (closed = true));
  socket.write("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
  await eventually("the end of the connection", () => assert.ok(closed));
  assert.not.match(got, /\r\n0\r\n\r\n/);
});

test("a client of HTTP/2 and one of HTTP/1 use the same connection, each as itself", async () => {
  await using t = await mesh((response) => response.end("ok"));
  const session = http2.connect(`http://127.0.0.1:${t.port}`);
  try {
    const stream = session.request({ ":path": "/", "l5d-orig-proto": "HTTP/1.0" });
    const [headers] = await once(stream, "response") as [http2.IncomingHttpHeaders];
    // its application speaks HTTP/1 only, and is spoken to in HTTP/2
    assert.is(headers[":status"], 502);
    stream.close();
  } finally {
    session.close();
  }
  assert.is((await t.get()).status, 200);
  assert.is(t.connections(), 2, "one more after the failure");
  assert.is(t.seen.length, 1, "nobody but a proxy says what a request was");
});

test.run();
