import { test } from "uvu";
import * as assert from "uvu/assert";
import { CONTINUE, REPLY } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import type { TestPeer } from "../support/memory-driver.ts";
import { A, B, endpoint, outboundFixture, route, snapshot } from "../support/outbound-fixture.ts";
import { get, moduleBytes, refTo, refusal, responseHead } from "./support.ts";
import { buildModule, EMPTY } from "./build-module.ts";

const phases = moduleBytes("fixtures/phases");
const retry = moduleBytes("retry");
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ZONES = {
  exists: true,
  endpoints: [
    endpoint(A, { labels: { zone: "main" } }),
    endpoint(B, { labels: { zone: "spare" } }),
  ],
};

/** An outbound proxy whose default route has the filter, and one that retries unless not. */
async function open(endpoints = ZONES, more = {}, retries = true) {
  const clock = new FakeClock();
  const engine = createEngine({ clock, random: () => 0 });
  const chain = engine.chain([
    await engine.prepare(phases, refTo(phases, null, { name: "phases", ...more })),
    ...(retries
      ? [
        await engine.prepare(
          retry,
          refTo(retry, { backoffMs: 0, anyMethod: true }, { name: "retry" }),
        ),
      ]
      : []),
  ]);
  const f = outboundFixture(snapshot(endpoints, [{ route: route({ name: "books" }), chain }]));
  const counted = (metric: string, way?: string) =>
    engine.series().find((s) =>
      s.metric.name === metric && (way === undefined || s.labels["way"] === way)
    )?.values[0] ?? 0;
  const send = (headers = "") => {
    const client = f.client();
    f.driver.feed(client, `GET /a HTTP/1.1\r\nhost: web\r\n${headers}\r\n`);
    return client;
  };
  const up = () => f.driver.connects.at(-1) as TestPeer;
  return { clock, engine, chain, f, counted, send, up };
}

test("a filter reads the route, the client's and the target's address, and the times", async () => {
  const { send, up, f } = await open();
  send();
  f.driver.open(up());
  assert.match(
    up().take(),
    /x-route: books\r\nx-remote: 127.77.0.1\r\nx-target: 127.77.0.1\r\n/,
  );
});

test("an endpoint is chosen by a label; another will do unless the choice is strict", async () => {
  const { send, up, f } = await open();
  for (let i = 0; i < 8; i++) {
    send("x-zone: spare\r\n");
    assert.is(up().to?.addr.ip, B.ip);
  }
  const before = f.driver.connects.length;
  send("x-zone: nowhere\r\n");
  assert.is(f.driver.connects.length, before + 1, "some endpoint");
  // Nobody has the label: the attempt fails, and the next one, for which the filter is asked, does not.
  const strict = "x-zone: nowhere\r\nx-strict: yes\r\n";
  send(strict);
  assert.is(f.driver.connects.length, before + 2);
  assert.is(up().to?.addr.ip, B.ip);
  const alone = await open(ZONES, {}, false);
  assert.match(
    alone.send(strict).take(),
    /^HTTP\/1.1 504 [^]*with zone=nowhere is available/,
  );
});

test("the hook before an attempt may send the retry elsewhere", async () => {
  const { send, up, f, counted } = await open();
  const client = send("x-zone: main\r\n");
  f.driver.fail(up(), { kind: "connect", message: "ECONNREFUSED" });
  assert.is(up().to?.addr.ip, B.ip);
  f.driver.open(up());
  f.driver.feed(up(), OK);
  assert.is(client.take(), OK);
  assert.is(counted("attempts_total"), 2);
});

test("a filter's time-out ends an attempt, and the next one begins anew", async () => {
  const { send, up, f } = await open();
  const client = send("x-attempt-timeout: 100\r\nx-zone: main\r\n");
  const first = up();
  f.driver.open(first);
  f.driver.advance(90);
  assert.is(f.driver.connects.length, 1);
  f.driver.advance(30);
  assert.is(first.closed, "reset");
  assert.is(f.driver.connects.length, 2, "retried");
  f.driver.open(up());
  f.driver.feed(up(), OK);
  assert.is(client.take(), OK);
  f.driver.advance(200);
  assert.is(client.closed, null, "no time-out is left armed");
});

test("an attempt that times out and is not retried is answered 504 with the reason", async () => {
  const { send, up, f } = await open();
  const client = send("x-attempt-timeout: 100\r\n");
  for (let i = 0; i < 3; i++) {
    f.driver.open(up());
    f.driver.advance(130);
  }
  assert.match(
    client.take(),
    /^HTTP\/1.1 504 [^]*No response to attempt 2 on route books within 100/,
  );
});

test("a filter sets the request's time-out instead of the route's", async () => {
  const { send, up, f } = await open();
  const client = send("x-timeout: 100\r\n");
  f.driver.open(up());
  f.driver.advance(130);
  assert.match(client.take(), /^HTTP\/1.1 504 [^]*No response on route books within 100 ms/);
});

test("what a filter set before it trapped is undone", async () => {
  const { chain } = await open(ZONES, { failurePolicy: "open" });
  const asks = { "x-timeout": "5", "x-attempt-timeout": "5", "x-zone": "spare" };
  const x = get("/", { ...asks, "x-trap": "yes" });
  assert.is(chain.requestHead(x), CONTINUE);
  assert.equal([x.timeoutMs, x.attemptTimeoutMs, x.choice], [0, 0, null]);
  assert.is(x.request.edits.length, 0);
  const y = get("/", asks);
  chain.requestHead(y);
  assert.equal([y.timeoutMs, y.attemptTimeoutMs, y.choice?.value], [5, 5, "spare"]);
});

test("ticks come on the timers that the engine was given, until no chain holds the filter", async () => {
  const { clock, counted } = await open();
  for (let i = 0; i < 10; i++) clock.advance(50);
  assert.is(counted("ticks_total"), 10);
});

test("a tick and its interval need each other, and the interval has bounds", async () => {
  const engine = createEngine({ clock: new FakeClock() });
  const ticking = (tickMs?: number) => {
    const module = buildModule({
      types: [{ params: [], results: [] }],
      functions: [0],
      exports: [["tulle_on_tick", 0, 0]],
      bodies: [[0]],
      manifest: { ...EMPTY, ...(tickMs === undefined ? {} : { tickMs }) },
    });
    return refusal(engine.prepare(module, refTo(module)));
  };
  assert.match(await ticking(), /"tulle_on_tick" and tickMs of the manifest need each other/);
  assert.match(await ticking(9), /tickMs: 9 is not from 10 to 3600000/);
  assert.is(await ticking(10), "nothing was refused");
});

const TRAILED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" +
  "x-sum: bad\r\nx-internal: 1\r\nContent-Length: 7\r\nx-other: kept\r\n\r\n";

test("trailers pass to a client that asks for them, and a filter reads and changes them", async () => {
  const { send, up, f } = await open();
  const client = send("connection: te\r\nte: trailers\r\n");
  f.driver.open(up());
  assert.match(up().take(), /\r\nconnection: te\r\nte: trailers\r\n\r\n$/);
  for (const byte of TRAILED) f.driver.feed(up(), byte);
  assert.match(
    client.take(),
    /k\r\n0\r\nx-other: kept\r\nx-checked: yes\r\nx-sum: books\r\n\r\n$/,
  );
});

test("trailers that nobody asked for, or that are not fields, end here", async () => {
  const { send, up, f } = await open();
  const client = send();
  f.driver.open(up());
  assert.not.match(up().take(), /\r\nte: /);
  f.driver.feed(up(), TRAILED);
  assert.match(client.take(), /2\r\nok\r\n0\r\n\r\n$/);
  const again = send("connection: te\r\nte: trailers\r\n");
  f.driver.feed(up(), TRAILED.replace("x-sum: bad", "x sum bad"));
  assert.match(again.take(), /2\r\nok\r\n0\r\n\r\n$/);
});

test("a status is replaced, by one that ends a message in the same way", async () => {
  const { chain } = await open();
  const x = get("/");
  chain.requestHead(x);
  const head = responseHead(200, { "x-teapot": "yes" });
  assert.is(chain.responseHead(x, head), CONTINUE);
  assert.is(head.status, 418);
  const y = get("/");
  chain.requestHead(y);
  chain.responseHead(y, responseHead(204, { "x-teapot": "yes" }));
  assert.match(y.filterError, /a status 204 cannot become 418/);
});

test("CONNECT asks the filters when it opens and tells them what it carried", async () => {
  const { f, up, counted } = await open();
  const client = f.client();
  f.driver.feed(client, "CONNECT web:80 HTTP/1.1\r\nhost: web:80\r\n\r\n");
  f.driver.open(up());
  assert.match(client.take(), /^HTTP\/1.1 200/);
  assert.is(counted("opened_total"), 1);
  f.driver.feed(client, "hello");
  f.driver.feed(up(), "hi");
  assert.is(up().take(), "hello");
  assert.is(client.take(), "hi");
  assert.is(counted("bytes_total", "in"), 0, "not before the end");
  f.driver.end(client);
  f.driver.end(up());
  assert.is(counted("bytes_total", "in"), 5);
  assert.is(counted("bytes_total", "out"), 2);
});

test("a connection that a filter denies is refused before anything is connected", async () => {
  const { chain, counted } = await open();
  const x = get("/");
  x.conn = { ...x.conn, tls: { identity: "evil.default.serviceaccount", alpn: null } };
  assert.is(chain.connectionOpen(x), REPLY);
  assert.is(x.filterError, 'filter "phases" denied the connection');
  assert.is(counted("opened_total"), 0);
});

test.run();
