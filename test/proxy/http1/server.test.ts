import { test } from "uvu";
import * as assert from "uvu/assert";
import { MeshError } from "../../../src/core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../../src/core/exchange.ts";
import { ResponseHead } from "../../../src/core/head.ts";
import { parseResponse } from "../../../src/proxy/http1/parse.ts";
import { Http1Server } from "../../../src/proxy/http1/server.ts";
import type { ServerOptions } from "../../../src/proxy/http1/server-options.ts";
import { MemoryDriver, type TestPeer, turn } from "../../support/memory-driver.ts";
import { seeded } from "../../support/random.ts";

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** A response head as a codec would lend it. */
function head(text: string, connect = false): ResponseHead {
  const made = new ResponseHead();
  const buf = bytes(text);
  assert.is(parseResponse(made, buf, 0, buf.length, 65536, false, connect), buf.length);
  return made;
}

interface Call {
  readonly x: Exchange;
  readonly reply: Reply;
  body: string;
  ended: boolean;
  aborted: MeshError | null;
  ready: boolean;
  readonly sink: Sink;
}

function fixture(more: Partial<ServerOptions> = {}): {
  driver: MemoryDriver;
  calls: Call[];
  refused: MeshError[];
  client: TestPeer;
} {
  const driver = new MemoryDriver();
  const calls: Call[] = [];
  const refused: MeshError[] = [];
  const service: HttpService = (x, reply) => {
    const sink: Sink = {
      wake: null,
      data(buf, from, to) {
        for (let i = from; i < to; i++) call.body += String.fromCharCode(buf[i] as number);
        return call.ready;
      },
      end: () => void (call.ended = true),
      abort: (why) => void (call.aborted = why),
    };
    const call: Call = { x, reply, body: "", ended: false, aborted: null, ready: true, sink };
    calls.push(call);
    return sink;
  };
  const options: ServerOptions = {
    service,
    maxHeadBytes: 4096,
    headMs: 10_000,
    idleMs: 60_000,
    tellMesh: () => true,
    refused: (why) => refused.push(why),
    draining: () => false,
    inFlight: { count: 0 },
    ...more,
  };
  const client = driver.accept((_ch, peer) =>
    new Http1Server(driver, {
      direction: "outbound",
      remote: peer.remote,
      target: peer.local,
      tls: null,
    }, options)
  );
  return { driver, calls, refused, client };
}

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";

function answer(call: Call, headText = OK, body = "ok"): void {
  call.reply.head(head(headText));
  call.reply.data(bytes(body), 0, body.length);
  call.reply.end();
}

test("a request reaches the service, its response the client", () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, GET);
  assert.is(calls.length, 1);
  assert.is(calls[0]?.x.request.path, "/a");
  assert.ok(calls[0]?.ended);
  answer(calls[0] as Call);
  assert.is(client.take(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  assert.is(client.closed, null);
});

test("a request in 1-byte and in random pieces is the same request", async () => {
  const random = seeded(3);
  const text =
    "POST /p HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
  for (let round = 0; round < 60; round++) {
    const { driver, calls, client } = fixture();
    const pieces = round === 0
      ? [...bytes(text)].map((b) => Uint8Array.of(b))
      : random.pieces(bytes(text), 7);
    for (const piece of pieces) driver.feed(client, piece);
    await turn();
    assert.is(calls.length, 1);
    assert.is(calls[0]?.body, "abcde");
    assert.ok(calls[0]?.ended);
  }
});

test("pipelined requests are served one after the other", async () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, GET + GET.replace("/a", "/b"));
  assert.is(calls.length, 1);
  answer(calls[0] as Call);
  await turn();
  assert.is(calls.length, 2);
  assert.is(calls[1]?.x.request.path, "/b");
  answer(calls[1] as Call);
  assert.is(client.take().split("HTTP/1.1 200 OK").length, 3);
});

test("a malformed request is answered 400, counted, and the connection closed", () => {
  const { driver, calls, refused, client } = fixture();
  driver.feed(client, "GET / HTTP/1.1\r\nhost : web\r\n\r\n");
  assert.is(calls.length, 0);
  assert.match(
    client.take(),
    /^HTTP\/1\.1 400 Bad Request\r\n.*l5d-proxy-error: .*\r\nconnection: close\r\n\r\n$/s,
  );
  assert.is(refused[0]?.kind, "bad-request");
  assert.ok(client.shutdown);
  driver.advance(2000);
  assert.is(client.closed, "flush");
});

test("a head over its bound is answered 431", () => {
  const { driver, client, refused } = fixture();
  driver.feed(client, `GET / HTTP/1.1\r\nhost: web\r\nx: ${"y".repeat(5000)}`);
  assert.match(client.take(), /^HTTP\/1\.1 431 /);
  assert.is(refused[0]?.kind, "head-too-large");
});

test("a slow head is ended after its time, an idle connection silently", () => {
  const slow = fixture();
  slow.driver.feed(slow.client, "GET / HT");
  slow.driver.advance(11_000);
  assert.match(slow.client.take(), /^HTTP\/1\.1 408 /);
  const idle = fixture();
  idle.driver.advance(61_000);
  assert.is(idle.client.sent, "");
  assert.is(idle.client.closed, "flush");
});

test("an unknown transfer coding is answered 501, another major version 505", () => {
  const one = fixture();
  one.driver.feed(one.client, "GET / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: gzip\r\n\r\n");
  assert.match(one.client.take(), /^HTTP\/1\.1 501 /);
  const two = fixture();
  two.driver.feed(two.client, "GET / HTTP/3.0\r\nhost: web\r\n\r\n");
  assert.match(two.client.take(), /^HTTP\/1\.1 505 /);
});

test("a response without length is chunked for HTTP/1.1 and ends with the connection for 1.0", () => {
  const now = fixture();
  now.driver.feed(now.client, GET);
  answer(now.calls[0] as Call, "HTTP/1.1 200 OK\r\n\r\n");
  assert.is(
    now.client.take(),
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
  );
  const old = fixture();
  old.driver.feed(old.client, "GET / HTTP/1.0\r\n\r\n");
  answer(old.calls[0] as Call, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  assert.is(old.client.take(), "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nok");
  assert.is(old.client.closed, "flush");
});

const POST = "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 10\r\n\r\nabc";

test("a body that stops coming is ended after its time, not while the service makes it wait", () => {
  const stalls: string[] = [];
  const s = fixture({ stallMs: 60_000, stalled: (bound) => stalls.push(bound) });
  s.driver.feed(s.client, POST);
  for (let i = 0; i < 5; i++) {
    s.driver.advance(50_000);
    s.driver.feed(s.client, "d");
  }
  assert.equal(stalls, []);
  const call = s.calls[0] as Call;
  call.ready = false;
  s.driver.feed(s.client, "e");
  s.driver.advance(500_000);
  assert.equal(stalls, [], "the client may not send");
  call.ready = true;
  call.sink.wake?.();
  s.driver.advance(200_000);
  assert.equal(stalls, ["slow"]);
  assert.match(call.aborted?.message ?? "", /No byte of the request body within 60000 ms/);
  assert.match(s.client.take(), /^HTTP\/1\.1 400 /);
  s.driver.advance(2_000);
  assert.ok(s.client.closed !== null);
  assert.is(s.driver.timers.armed, 0);
});

test("a client that takes nothing of its response is ended after a time, one that reads is not", async () => {
  const stalls: string[] = [];
  const s = fixture({ stallMs: 60_000, stalled: (bound) => stalls.push(bound) });
  s.driver.feed(s.client, GET);
  const call = s.calls[0] as Call;
  call.reply.head(head("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"));
  const piece = bytes("x".repeat(1000));
  for (let i = 0; i < 3; i++) {
    s.client.full = true;
    assert.not(call.reply.data(piece, 0, 1000));
    s.driver.advance(50_000);
    s.driver.drain(s.client);
    await turn();
  }
  s.driver.advance(500_000); // nothing waits for it: the service is slow, not the client
  assert.equal(stalls, []);
  s.client.full = true;
  call.reply.data(piece, 0, 1000);
  s.driver.advance(100_000);
  assert.equal(stalls, ["stalled"]);
  assert.match(call.aborted?.message ?? "", /took nothing for 60000 ms/);
  assert.ok(s.client.closed !== null);
  assert.is(s.driver.timers.armed, 0);
});

test("a slow service stops the client, and nothing is lost when it wakes", async () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 6\r\n\r\n");
  const call = calls[0] as Call;
  call.ready = false;
  driver.feed(client, "abc");
  assert.ok(client.paused);
  driver.feed(client, "def");
  assert.is(call.body, "abc");
  call.ready = true;
  call.sink.wake?.();
  await turn();
  assert.is(call.body, "abcdef");
  assert.ok(call.ended);
});

test("a slow client stops the response until it reads", () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, GET);
  const call = calls[0] as Call;
  let woken = 0;
  call.reply.wake = () => woken++;
  call.reply.head(head("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"));
  client.full = true;
  assert.not(call.reply.data(bytes("ab"), 0, 2));
  driver.drain(client);
  assert.is(woken, 1);
});

test("a client that goes away aborts its request, once", () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, GET);
  let over = 0;
  (calls[0] as Call).x.onEnd = () => over++;
  driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  assert.is(calls[0]?.aborted?.kind, "client-gone");
  assert.is(over, 1);
});

test("a client that half-closes still gets its response", async () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, GET);
  driver.end(client);
  answer(calls[0] as Call);
  await turn();
  assert.match(client.take(), /200 OK[^]*connection: close[^]*ok$/);
  assert.is(client.closed, "flush");
});

test("an answer before the whole body closes the connection in order", () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 100\r\n\r\nabc");
  (calls[0] as Call).reply.fail(new MeshError("unauthorized", "Nobody may"));
  assert.match(
    client.take(),
    /^HTTP\/1\.1 403 Forbidden\r\ncontent-length: 0\r\nl5d-proxy-error: Nobody may\r\nconnection: close/,
  );
  assert.ok(client.shutdown);
  assert.is(calls[0]?.aborted?.kind, "client-gone");
});

test("a response that breaks off resets the connection, so that it does not look whole", () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, GET);
  const { reply } = calls[0] as Call;
  reply.head(head("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"));
  reply.abort(new MeshError("upstream-closed", "gone"));
  assert.is(client.closed, "reset");
});

test("100-continue is passed on, and only to clients that know it", () => {
  const { driver, calls, client } = fixture();
  driver.feed(
    client,
    "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
  );
  (calls[0] as Call).reply.informational(head("HTTP/1.1 100 Continue\r\n\r\n"));
  assert.is(client.take(), "HTTP/1.1 100 Continue\r\n\r\n");
  driver.feed(client, "ok");
  assert.is(calls[0]?.body, "ok");
});

test("bytes of a tunnel pass in both directions, half-closes too", async () => {
  const { driver, calls, client } = fixture();
  driver.feed(client, "CONNECT vote:7000 HTTP/1.1\r\nhost: vote:7000\r\n\r\n");
  const { reply } = calls[0] as Call;
  driver.feed(client, "early");
  reply.head(head("HTTP/1.1 200 OK\r\n\r\n", true));
  await turn();
  assert.is(client.take(), "HTTP/1.1 200 OK\r\n\r\n");
  assert.is(calls[0]?.body, "early");
  reply.data(bytes("\x00\x01"), 0, 2);
  assert.is(client.take(), "\x00\x01");
  (calls[0] as Call).ended = false;
  driver.end(client);
  assert.ok(calls[0]?.ended);
  reply.end();
  assert.is(client.closed, "flush");
});

test("a draining server ends each connection after its current response", () => {
  const { driver, calls, client } = fixture({ draining: () => true });
  driver.feed(client, GET);
  answer(calls[0] as Call);
  assert.match(client.take(), /connection: close/);
  assert.is(client.closed, "flush");
});

test("exchanges in flight are counted up and down", () => {
  const inFlight = { count: 0 };
  const { driver, calls, client } = fixture({ inFlight });
  driver.feed(client, GET);
  assert.is(inFlight.count, 1);
  answer(calls[0] as Call);
  assert.is(inFlight.count, 0);
  driver.feed(client, GET);
  driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  assert.is(inFlight.count, 0);
});

test.run();
