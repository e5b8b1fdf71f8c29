import { test } from "uvu";
import * as assert from "uvu/assert";
import { HOOK_OUTCOME, NO_FILTERS } from "../../../src/core/filter.ts";
import type { RouteLimits } from "../../../src/model/route.ts";
import { turn } from "../../support/memory-driver.ts";
import {
  A,
  endpoint,
  limiting,
  outboundFixture,
  route,
  snapshot,
} from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const PUT = "PUT /a HTTP/1.1\r\nhost: web\r\ncontent-length: 6\r\n\r\n";
const HEAD = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
const FAIL = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const ONE = { exists: true, endpoints: [endpoint(A)] };

function limited(limits: Partial<RouteLimits>, retries = false) {
  const after = retries
    ? { ...NO_FILTERS, hooks: HOOK_OUTCOME, attemptOutcome: () => 300 }
    : NO_FILTERS;
  const chain = limiting(limits, after);
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  const send = (request: string) => {
    f.driver.feed(client, request);
    const up = f.driver.connects.at(-1) as (typeof f.driver.connects)[0];
    f.driver.open(up);
    up.take();
    return up;
  };
  return { ...f, client, send };
}

test("an exchange that takes too long is 504 before its head, and cut after it", async () => {
  const f = limited({ requestMs: 1000 });
  f.send(GET);
  f.driver.advance(900);
  assert.is(f.client.take(), "");
  f.driver.advance(150);
  assert.match(f.client.take(), /^HTTP\/1\.1 504 [^]*No response on route default within 1000 ms/);
  const g = limited({ requestMs: 1000 });
  const up = g.send(GET);
  g.driver.feed(up, HEAD + "abc");
  await turn();
  assert.match(g.client.take(), /abc$/);
  g.driver.advance(1050);
  assert.ok(g.client.closed, "the client sees that the response is not whole");
  assert.ok(up.closed);
});

test("the response's time begins at the request's end", async () => {
  const f = limited({ responseMs: 500 });
  const up = f.send(PUT);
  f.driver.feed(f.client, "abc");
  f.driver.advance(2000);
  assert.is(f.client.take(), "", "the request is not whole");
  f.driver.feed(f.client, "def");
  f.driver.advance(400);
  assert.is(f.client.take(), "");
  f.driver.feed(up, HEAD);
  await turn();
  assert.match(f.client.take(), /200 OK/);
  f.driver.advance(150);
  assert.ok(f.client.closed);
});

test("silence ends an exchange, bytes in either direction put it off", async () => {
  const f = limited({ idleMs: 500 });
  const up = f.send(PUT);
  for (const byte of "abcdef") {
    f.driver.advance(400);
    f.driver.feed(f.client, byte);
  }
  f.driver.advance(400);
  f.driver.feed(up, HEAD);
  for (const byte of "abc") {
    f.driver.advance(400);
    f.driver.feed(up, byte);
  }
  await turn();
  assert.match(f.client.take(), /200 OK[^]*abc$/);
  f.driver.advance(550);
  assert.ok(f.client.closed);
});

test("an exchange in time leaves no timer, and its connection serves the next", async () => {
  const f = limited({ requestMs: 1000, responseMs: 500, idleMs: 500 });
  const up = f.send(GET);
  f.driver.feed(up, HEAD + "abcdef");
  await turn();
  assert.match(f.client.take(), /abcdef$/);
  f.driver.advance(2000);
  assert.not.ok(f.client.closed);
  f.driver.feed(f.client, GET);
  f.driver.open(f.driver.connects.at(-1) as (typeof f.driver.connects)[0]);
  f.driver.feed(f.driver.connects.at(-1) as (typeof f.driver.connects)[0], HEAD + "ghijkl");
  await turn();
  assert.match(f.client.take(), /ghijkl$/);
});

test("retries do not outlive the exchange", async () => {
  const f = limited({ requestMs: 500 }, true);
  const up = f.send(GET);
  f.driver.feed(up, FAIL);
  await turn();
  f.driver.advance(350);
  assert.match(up.take(), /^GET/, "the first retry");
  f.driver.feed(up, FAIL);
  await turn();
  assert.match(f.client.take(), /^HTTP\/1\.1 503/, "there is no time for a second one");
});

test("an upgraded connection has no end that could be late", async () => {
  const f = limited({ requestMs: 500, responseMs: 500, idleMs: 500 });
  const up = f.send(
    "GET /ws HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  );
  f.driver.feed(
    up,
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  );
  await turn();
  f.client.take();
  f.driver.advance(5000);
  f.driver.feed(up, "late");
  f.driver.feed(f.client, "too");
  await turn();
  assert.is(f.client.take(), "late");
  assert.is(up.take(), "too");
});

test.run();
