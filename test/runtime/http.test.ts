import { test } from "uvu";
import * as assert from "uvu/assert";
import type { HttpServer } from "../../src/runtime/http-server.ts";
import { serveHttp } from "../../src/runtime/http-server.ts";
import type { HttpClient, HttpResponse } from "../../src/runtime/http-client.ts";
import { createHttpClient } from "../../src/runtime/http-client.ts";
import { formatSocketAddr } from "../../src/core/addr.ts";

const LOOPBACK = { ip: "127.0.0.1", port: 0 };
const bytes = (text: string) => new TextEncoder().encode(text);
const body = (answer: HttpResponse) => new TextDecoder().decode(answer.body);

/** A server and a client for one test, closed after it. */
function ends(
  name: string,
  handler: (request: Request) => Response | Promise<Response>,
  run: (client: HttpClient, base: string, server: HttpServer) => Promise<void>,
): void {
  test(name, async () => {
    const server = await serveHttp(LOOPBACK, handler);
    const client = createHttpClient();
    try {
      await run(client, `http://${formatSocketAddr(server.addr)}`, server);
    } finally {
      await client.close();
      await server.close();
    }
  });
}

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (e) {
    return (e as Error).message;
  }
  return assert.unreachable("it did not fail") as never;
}

const never = () => new Promise<Response>(() => {});

ends(
  "serveHttp() hands method, headers and body to the handler",
  async (request) => {
    const text = await request.text();
    return Response.json(
      [request.method, new URL(request.url).pathname, request.headers.get("x-a"), text],
      { status: 201, headers: { "x-b": "2" } },
    );
  },
  async (client, base) => {
    const answer = await client.request({
      url: `${base}/p?q`,
      method: "POST",
      headers: { "x-a": "1" },
      body: "hello",
      timeoutMs: 2000,
      maxBytes: 1000,
    });
    assert.is(answer.status, 201);
    assert.is(answer.headers["x-b"], "2");
    assert.equal(JSON.parse(body(answer)), ["POST", "/p", "1", "hello"]);
  },
);

ends(
  "serveHttp() says in one line that a port is taken",
  () => new Response("ok"),
  async (_client, _base, server) => {
    assert.is(
      await failure(serveHttp(server.addr, () => new Response(""))),
      `Listen on ${formatSocketAddr(server.addr)} failed: ` +
        "the port is taken, stop what uses it or choose another",
    );
  },
);

test("serveHttp() says in one line that the machine does not have an address", async () => {
  const message = await failure(serveHttp({ ip: "203.0.113.7", port: 0 }, never));
  assert.is(message, "Listen on 203.0.113.7:0 failed: this machine does not have the address");
});

test("serveHttp() cuts a stream that outlives the grace of close() and cancels its source", async () => {
  let arrived = () => {};
  let cancelled = () => {};
  const arrival = new Promise<void>((resolve) => arrived = resolve);
  const done = new Promise<void>((resolve) => cancelled = resolve);
  const server = await serveHttp(LOOPBACK, () => {
    arrived();
    return new Response(
      new ReadableStream({ start: (c) => c.enqueue(bytes("first")), cancel: () => cancelled() }),
    );
  });
  const client = createHttpClient();
  const request = failure(client.request({
    url: `http://${formatSocketAddr(server.addr)}/`,
    timeoutMs: 5000,
    maxBytes: 1000,
  }));
  await arrival;
  await server.close(50);
  await done;
  await request;
  await server.close();
  await client.close();
});

ends(
  "request() refuses an answer over its bound",
  () => new Response("x".repeat(1001)),
  async (client, base) => {
    const ask = { url: `${base}/big?secret=1`, timeoutMs: 2000 };
    assert.is(
      await failure(client.request({ ...ask, maxBytes: 1000 })),
      `GET ${base}/big failed: the answer is larger than 1000 bytes`,
    );
    assert.is((await client.request({ ...ask, maxBytes: 1001 })).body.length, 1001);
  },
);

ends(
  "request() times out on a head that does not come",
  never,
  async (client, base) => {
    assert.is(
      await failure(client.request({ url: `${base}/`, timeoutMs: 50, maxBytes: 10 })),
      `GET ${base}/ failed: timed out after 50 ms`,
    );
  },
);

ends(
  "request() times out on a body that does not end",
  () => new Response(new ReadableStream({ start: (c) => c.enqueue(bytes("first")) })),
  async (client, base) => {
    assert.is(
      await failure(client.request({ url: `${base}/`, timeoutMs: 100, maxBytes: 10 })),
      `GET ${base}/ failed: timed out after 100 ms`,
    );
  },
);

ends(
  "request() ends by the caller's signal",
  never,
  async (client, base) => {
    const abort = new AbortController();
    const request = client.request({
      url: `${base}/`,
      timeoutMs: 5000,
      maxBytes: 10,
      signal: abort.signal,
    });
    abort.abort(new Error("no longer wanted"));
    assert.match(await failure(request), "no longer wanted");
  },
);

test("request() says that a connection was refused, and that a URL is none", async () => {
  const server = await serveHttp(LOOPBACK, never);
  await server.close();
  const client = createHttpClient();
  const ask = { timeoutMs: 1000, maxBytes: 10 };
  const url = `http://${formatSocketAddr(server.addr)}/`;
  assert.is(
    await failure(client.request({ ...ask, url })),
    `GET ${url} failed: the connection was refused`,
  );
  assert.match(await failure(client.request({ ...ask, url: "nonsense" })), "an invalid URL");
  await client.close();
});

test.run();
