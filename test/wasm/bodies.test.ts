import { test } from "uvu";
import * as assert from "uvu/assert";
import type { FailurePolicy } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { type TestPeer, turn } from "../support/memory-driver.ts";
import { A, endpoint, outboundFixture, route, snapshot } from "../support/outbound-fixture.ts";
import { buildModule, EMPTY } from "./build-module.ts";
import { moduleBytes, refTo, refusal } from "./support.ts";

const pieces = moduleBytes("fixtures/pieces");
const whole = moduleBytes("fixtures/whole");
const ONE = { exists: true, endpoints: [endpoint(A)] };

/** An outbound proxy with the filters, one request sent, and the endpoint's connection. */
async function open(modules: readonly Uint8Array[], policy: FailurePolicy = "closed") {
  const engine = createEngine({ clock: new FakeClock(), random: () => 0 });
  const chain = engine.chain(
    await Promise.all(
      modules.map((module, i) =>
        engine.prepare(module, refTo(module, null, { name: `f${i}`, failurePolicy: policy }))
      ),
    ),
  );
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  const up = () => f.driver.connects[0] as TestPeer;
  return { engine, f, client, up };
}

const post = (body: string, more = "") =>
  `POST /a HTTP/1.1\r\nhost: web\r\n${more}content-length: ${body.length}\r\n\r\n${body}`;
const answer = (body: string) => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

test("pieces pass a filter as they come, with other bytes in their place", async () => {
  const { f, client, up, engine } = await open([pieces]);
  f.driver.feed(client, "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 10\r\n\r\nhello");
  f.driver.open(up());
  assert.is(
    up().take(),
    "POST /a HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n5\r\nHELLO\r\n",
    "before the rest is there",
  );
  f.driver.feed(client, "world");
  assert.is(up().take(), "5\r\nWORLD\r\n0\r\n\r\n");
  f.driver.feed(up(), "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
  assert.match(
    client.take(),
    /^HTTP\/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n$/,
  );
  f.driver.feed(up(), "cd");
  assert.is(client.take(), "2\r\ncd\r\nb\r\n\n-- \ntulle\n\r\n0\r\n\r\n");
  const counted = engine.series().map((s) => [s.labels["head"], s.values[0]]);
  assert.equal(counted, [["request", 10], ["response", 4]]);
  // the connection is as good as before
  await turn();
  f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
  assert.is(up().take(), "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
});

test("a whole body is looked at before anything is sent on", async () => {
  const { f, client, up } = await open([whole]);
  f.driver.feed(client, 'POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 7\r\n\r\n{"a"');
  assert.is(f.driver.connects.length, 0);
  f.driver.feed(client, ":1}");
  f.driver.open(up());
  assert.is(
    up().take(),
    'POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 7\r\nx-checked: yes\r\n\r\n{"a":1}',
    "unchanged: as it came, with the header that the filter set after it had seen the body",
  );
  f.driver.feed(up(), answer("fine"));
  assert.is(client.take(), answer("fine"));
});

test("a filter answers for a body that it does not like, and nothing goes upstream", async () => {
  const { f, client } = await open([whole]);
  f.driver.feed(client, post("<xml/>"));
  assert.match(client.take(), /^HTTP\/1.1 422 [^]*\r\n\r\nnot JSON\n$/);
  assert.is(f.driver.connects.length, 0);
  await turn();
  f.driver.feed(client, post("<xml/>"));
  assert.match(client.take(), /^HTTP\/1.1 422/, "the connection was read to the end");
});

test("a whole body is replaced, and sent again by a retry as it was replaced", async () => {
  const { f, client, up } = await open([whole, moduleBytes("retry")]);
  f.driver.feed(client, post("{?", "x-any: 1\r\n").replace("POST", "PUT"));
  f.driver.open(up());
  const sent = up().take();
  assert.match(sent, /transfer-encoding: chunked\r\nx-checked|x-checked: yes\r\ntransfer-encoding/);
  assert.match(sent, /\r\n\r\n11\r\n\{"replaced":true\}\r\n0\r\n\r\n$/);
  f.driver.feed(up(), "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
  await turn();
  f.driver.advance(100);
  assert.match(up().take(), /\r\n\r\n11\r\n\{"replaced":true\}\r\n0\r\n\r\n$/);
});

test("a request body over the bound is answered 413, told by its length or found out", async () => {
  const long = "{" + "x".repeat(99);
  const told = await open([whole]);
  told.f.driver.feed(told.client, post(long));
  assert.match(told.client.take(), /^HTTP\/1.1 413 [^]*longer than 64 bytes/);
  const found = await open([whole]);
  found.f.driver.feed(
    found.client,
    `POST /a HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n64\r\n${long}\r\n0\r\n\r\n`,
  );
  assert.match(found.client.take(), /^HTTP\/1.1 413 /);
  assert.is(found.f.driver.connects.length, 0);
});

test("a response body over the bound passes when the filter declares so", async () => {
  const { f, client, up } = await open([whole]);
  f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
  f.driver.open(up());
  const long = "?".repeat(200);
  f.driver.feed(up(), answer(long).slice(0, -100));
  f.driver.feed(up(), long.slice(0, 100));
  const got = client.take();
  assert.is((got.match(/\?/g) ?? []).length, 200);
  await turn();
  f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
  f.driver.feed(up(), answer("?short"));
  assert.match(client.take(), /\r\n\r\n2\r\n\{\}\r\n0\r\n\r\n$/, "a short one is replaced");
  await turn();
  f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
  f.driver.feed(up(), answer("!bad"));
  assert.match(client.take(), /^HTTP\/1.1 502 [^]*not that\n$/);
});

test("Expect: 100-continue is answered here when the body is read here", async () => {
  const { f, client, up } = await open([whole]);
  f.driver.feed(
    client,
    "POST /a HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
  );
  assert.is(client.take(), "HTTP/1.1 100 Continue\r\n\r\n");
  f.driver.feed(client, "{}");
  f.driver.open(up());
  assert.not.match(up().take(), /expect/);
});

test("a trap in a body applies the failure policy; open: the piece goes on as it came", async () => {
  const closed = await open([pieces]);
  closed.f.driver.feed(closed.client, post("no!"));
  assert.match(closed.client.take(), /^HTTP\/1.1 503 [^]*onRequestBody trapped: unreachable/);
  const opened = await open([pieces], "open");
  opened.f.driver.feed(opened.client, post("no!"));
  opened.f.driver.open(opened.up());
  assert.match(opened.up().take(), /3\r\nno!\r\n0\r\n\r\n$/);
  const held = await open([whole]);
  held.f.driver.feed(held.client, post("{!"));
  assert.match(held.client.take(), /^HTTP\/1.1 503 /);
  const passed = await open([whole], "open");
  passed.f.driver.feed(passed.client, post("{!"));
  passed.f.driver.open(passed.up());
  const sent = passed.up().take();
  assert.match(sent, /\r\n\r\n\{!$/);
  assert.not.match(sent, /x-checked/, "what it changed before is undone");
});

test("a client that goes away while its body is held leaves nothing behind", async () => {
  const { f, client } = await open([whole]);
  f.driver.feed(client, "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 9\r\n\r\n{");
  f.driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  assert.is(f.driver.connects.length, 0);
  assert.is(f.draining.inFlight.count, 0);
});

test("a slow endpoint stops the client through the filter", async () => {
  const { f, client, up } = await open([pieces]);
  f.driver.feed(client, "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 99\r\n\r\na");
  f.driver.open(up());
  up().full = true;
  f.driver.feed(client, "b");
  assert.ok(client.paused);
  up().full = false;
  f.driver.drain(up());
  assert.not(client.paused);
});

test("a long piece reaches a filter in parts, so that its fuel is enough", async () => {
  const { f, client, up } = await open([pieces]);
  const body = "a word ".repeat(9000);
  f.driver.feed(client, post(body));
  f.driver.open(up());
  const sent = up().take();
  assert.match(sent, /\r\n\r\n1000\r\nA WORD /);
  const got = sent.slice(sent.indexOf("\r\n\r\n") + 2).replaceAll(/\r\n[0-9a-f]+\r\n/g, "");
  assert.ok(got === `${body.toUpperCase()}\r\n`, "and all of it arrives");
});

test("hostile addresses and lengths trap and reach nothing", async () => {
  const engine = createEngine({ clock: new FakeClock() });
  const bodies = { request: { wholeBytes: 0, over: "pass", replaces: true } };
  const cases: readonly (readonly [number, number])[] = [
    [0x7fffffff, 16],
    [-1, 2],
    [65535, 2],
    [0, -1],
    [0x10000, 1],
    [-2, -2],
  ];
  for (const [address, count] of cases) {
    const leb = (n: number) => {
      const out: number[] = [];
      for (;;) {
        const byte = n & 0x7f;
        n >>= 7;
        if ((n === 0 && (byte & 0x40) === 0) || (n === -1 && (byte & 0x40) !== 0)) {
          return [...out, byte];
        }
        out.push(byte | 0x80);
      }
    };
    const write = buildModule({
      types: [
        { params: [0x7f, 0x7f], results: [] },
        { params: [0x7f, 0x7f], results: [0x7f] },
      ],
      imports: [["tulle", "body_write", [0, 0]]],
      functions: [1],
      memories: [[0, 1]],
      exports: [["tulle_on_request_body", 0, 1]],
      bodies: [[0, 0x41, ...leb(address), 0x41, ...leb(count), 0x10, 0, 0x41, 3]],
      manifest: { ...EMPTY, bodies },
    });
    assert.match(
      await refusal(engine.prepare(write, refTo(write))),
      /onRequestBody trapped: \d+ bytes at \d+ are not in the memory/,
    );
  }
  const noManifest = buildModule({
    types: [{ params: [0x7f, 0x7f], results: [0x7f] }],
    functions: [0],
    memories: [[0, 1]],
    exports: [["tulle_on_request_body", 0, 0]],
    bodies: [[0, 0x41, 0]],
  });
  assert.match(
    await refusal(engine.prepare(noManifest, refTo(noManifest))),
    /"tulle_on_request_body" and bodies.request of the manifest need each other/,
  );
});

test.run();
