// PINGs to endpoints that ask for them, by a clock that the test turns.

import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  ACK,
  DATA,
  END_HEADERS,
  END_STREAM,
  Frame,
  GOAWAY,
  HEADERS,
  PING,
  PREFACE,
  SETTINGS,
  writeFrameHeader,
} from "../../../src/proxy/http2/frames.ts";
import { type TestPeer, turn } from "../../support/memory-driver.ts";
import { A, endpoint, outboundFixture, snapshot } from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const HTTP2 = { keepAlive: { intervalMs: 10_000, timeoutMs: 3000 }, windows: null };

function frame(
  type: number,
  flags: number,
  stream: number,
  payload: readonly number[],
): Uint8Array {
  const out = new Uint8Array(9 + payload.length);
  writeFrameHeader(out, 0, payload.length, type, flags, stream);
  out.set(payload, 9);
  return out;
}

/** Types of the frames that a connection sent since it was asked last. */
function typesOf(peer: TestPeer): number[] {
  const bytes = Uint8Array.from(peer.take(), (c) => c.charCodeAt(0));
  const preface = String.fromCharCode(...PREFACE);
  const f = new Frame();
  const types: number[] = [];
  const start = String.fromCharCode(...bytes.subarray(0, PREFACE.length)) === preface
    ? PREFACE.length
    : 0;
  for (let at = start; at + 9 <= bytes.length; at = f.to) {
    f.read(bytes, at);
    types.push(f.type);
  }
  return types;
}

function setUp() {
  const set = { exists: true, endpoints: [endpoint(A, { http2: HTTP2 })] };
  const f = outboundFixture({ ...snapshot(set), http2Only: true });
  const client = f.client();
  return {
    f,
    client,
    up: (i: number) => f.driver.connects[i] as TestPeer,
    /** The endpoint takes the connection and says its SETTINGS. */
    open(i: number) {
      const peer = f.driver.connects[i] as TestPeer;
      f.driver.open(peer);
      f.driver.feed(peer, frame(SETTINGS, 0, 0, []));
      f.driver.feed(peer, frame(SETTINGS, ACK, 0, []));
      return typesOf(peer);
    },
    answer(i: number, stream: number) {
      const peer = f.driver.connects[i] as TestPeer;
      f.driver.feed(peer, frame(HEADERS, END_HEADERS, stream, [0x88]));
      f.driver.feed(peer, frame(DATA, END_STREAM, stream, [0x6f, 0x6b]));
    },
  };
}

test("a quiet connection is asked whether it lives, and kept while it answers", async () => {
  const t = setUp();
  t.f.driver.feed(t.client, GET);
  assert.ok(t.open(0).includes(HEADERS));
  for (let i = 0; i < 3; i++) {
    t.f.driver.advance(10_100);
    assert.equal(typesOf(t.up(0)), [PING]);
    t.f.driver.feed(t.up(0), frame(PING, ACK, 0, new Array(8).fill(0x74)));
  }
  t.answer(0, 1);
  await turn();
  assert.match(t.client.take(), /^HTTP\/1\.1 200 [^]*ok/);
  assert.is(t.f.driver.connects.length, 1);
});

test("one that does not answer is given up, and a safe request goes out again on another", async () => {
  const t = setUp();
  t.f.driver.feed(t.client, GET);
  t.open(0);
  t.answer(0, 1);
  await turn();
  t.client.take();
  t.f.driver.feed(t.client, GET);
  await turn();
  typesOf(t.up(0));
  t.f.driver.advance(10_100);
  assert.equal(typesOf(t.up(0)), [PING]);
  t.f.driver.advance(3100);
  assert.equal(typesOf(t.up(0)), [GOAWAY]);
  assert.is(t.f.driver.connects.length, 2);
  assert.ok(t.open(1).includes(HEADERS));
  t.answer(1, 1);
  await turn();
  assert.match(t.client.take(), /^HTTP\/1\.1 200 [^]*ok/);
});

test("an endpoint that cannot be reached over HTTP/2 is left alone for a while, as over HTTP/1", async () => {
  const t = setUp();
  t.f.driver.feed(t.client, GET);
  t.f.driver.fail(t.up(0), { kind: "connect", message: "ECONNREFUSED" });
  await turn();
  assert.is(t.client.take(), "", "the request waits");
  const [target] = [...t.f.targets.all()];
  assert.ok(target!.endpoints[0]!.isAway(t.f.driver.now));
  t.f.driver.feed(t.f.client(), GET);
  await turn();
  assert.is(t.f.driver.connects.length, 1);
});

test.run();
