// HTTP/2 clients that attack: each bound, its counter, and a bystander on another connection (or another
// stream) who is served all the while.

import { test } from "uvu";
import * as assert from "uvu/assert";
import * as f from "../../../src/proxy/http2/frames.ts";
import { MemoryDriver } from "../../support/memory-driver.ts";
import { body, codeOf, frame, GET, POST, type RawPeer, u32 } from "./raw-peer.ts";
import { server, type ServerFixture } from "./server-fixture.ts";

/** An attacked connection and a quiet one, on one driver. */
function pair(o: Parameters<typeof server>[0] = {}): { s: ServerFixture; by: ServerFixture } {
  const driver = new MemoryDriver();
  const s = server({ ...o, driver });
  const by = server({ driver, serve: (call) => call.answer("fine") });
  s.peer.hello();
  by.peer.hello();
  return { s, by };
}

let next = 1;

/** The bystander asks once more. */
function unharmed(by: ServerFixture): void {
  const id = next += 2;
  by.peer.headers(id, GET);
  assert.is(body(by.peer.take(), id), "fine");
  assert.equal(by.floods, []);
}

/** Sends until the connection ends or `most` were sent; how many it took. */
function until(s: ServerFixture, most: number, send: (i: number, peer: RawPeer) => void): number {
  for (let i = 0; i < most; i++) {
    send(i, s.peer);
    if (s.peer.peer.shutdown) return i + 1;
  }
  return most;
}

/** It was ended with ENHANCE_YOUR_CALM, and counted under `bound`. */
function calmed(s: ServerFixture, bound: string): void {
  assert.equal(s.floods, [bound]);
  const [away] = s.peer.only(f.GOAWAY);
  assert.is(codeOf(away), f.ENHANCE_YOUR_CALM);
  assert.is(s.inFlight.count, 0);
  // what still comes is dropped for a moment, then the connection is gone
  s.peer.send(frame(f.PING, 0, 0, new Uint8Array(8)));
  assert.equal(s.peer.take(), []);
  s.driver.advance(1100);
  assert.ok(s.gone());
}

test("rapid reset ends the connection after few streams", () => {
  const { s, by } = pair();
  const streams = until(s, 10_000, (i, peer) => peer.headers(2 * i + 1, GET).rst(2 * i + 1));
  assert.ok(streams > 100 && streams < 400, String(streams));
  assert.is(s.calls.length <= streams, true);
  assert.ok(s.calls.every((c) => c.aborted !== null));
  calmed(s, "resets");
  unharmed(by);
});

test("a client that has us reset its streams is bounded like one that does it itself", () => {
  const { s, by } = pair();
  const streams = until(s, 10_000, (i, peer) => {
    peer.headers(2 * i + 1, POST, false).window(2 * i + 1, 0); // an increment of nothing is an error
  });
  assert.ok(streams < 400, String(streams));
  calmed(s, "resets");
  unharmed(by);
});

test("a client that cancels now and then is not taken for an attacker", () => {
  const { s } = pair();
  for (let i = 0; i < 2000; i++) {
    s.peer.headers(2 * i + 1, GET);
    if (i % 3 === 0) s.peer.rst(2 * i + 1);
    else s.call(i).answer("x");
    s.driver.advance(16);
  }
  assert.equal(s.floods, []);
  assert.is(s.peer.peer.shutdown, false);
});

for (
  const [what, bytes] of [
    ["PING", frame(f.PING, 0, 0, new Uint8Array(8))],
    ["SETTINGS", frame(f.SETTINGS, 0, 0)],
    ["PRIORITY", frame(f.PRIORITY, 0, 1, [0, 0, 0, 3, 1])],
    ["frames of an unknown type", frame(0x20, 0, 0)],
    ["WINDOW_UPDATE", frame(f.WINDOW_UPDATE, 0, 0, u32(1))],
  ] as const
) {
  test(`a flood of ${what} ends the connection`, () => {
    const { s, by } = pair();
    const sent = until(s, 10_000, (_i, peer) => peer.send(bytes));
    assert.ok(sent < 3000, String(sent));
    calmed(s, "frames");
    unharmed(by);
  });
}

test("a flood of empty DATA frames ends the connection", () => {
  const { s, by } = pair();
  s.peer.headers(1, POST, false);
  const sent = until(s, 10_000, (_i, peer) => peer.data(1, ""));
  assert.ok(sent < 3000, String(sent));
  calmed(s, "frames");
  unharmed(by);
});

test("PINGs beside real work are no flood", () => {
  const { s } = pair();
  s.peer.headers(1, POST, false);
  for (let i = 0; i < 20_000; i++) {
    s.peer.data(1, "x").send(frame(f.PING, 0, 0, new Uint8Array(8)));
  }
  assert.equal(s.floods, []);
});

test("a header block that never ends is bounded in bytes and in frames", () => {
  for (const size of [16_384, 100, 0]) {
    const { s, by } = pair();
    s.peer.send(frame(f.HEADERS, 0, 1, new Uint8Array(size)));
    const sent = until(
      s,
      10_000,
      (_i, peer) => peer.send(frame(f.CONTINUATION, 0, 1, new Uint8Array(size))),
    );
    assert.ok(sent <= 128, String(sent));
    calmed(s, size === 0 && s.floods[0] === "frames" ? "frames" : "continuation");
    assert.is(s.calls.length, 0);
    unharmed(by);
  }
});

test("an HPACK bomb becomes 431 and nothing larger than the bound", () => {
  const { s, by } = pair();
  // One entry of 4,000 bytes in the table, then thousands of one-byte references to it.
  const value = "x".repeat(3900);
  const name = "x-bomb";
  const block = [
    ...s.peer.block(GET),
    0x40,
    name.length,
    ...Array.from(name, (c) => c.charCodeAt(0)),
    0x7f,
    ...[(value.length - 127) % 128 + 128, Math.floor((value.length - 127) / 128)],
    ...Array.from(value, (c) => c.charCodeAt(0)),
    ...new Array(11_000).fill(0x80 | 62),
  ];
  s.peer.send(frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, block));
  assert.is(s.peer.only(f.HEADERS)[0]?.fields[":status"], "431");
  assert.is(s.calls.length, 0);
  assert.is(s.refused[0]?.kind, "head-too-large");
  s.peer.headers(3, GET);
  s.call(0).answer("still here");
  assert.is(body(s.peer.take(), 3), "still here");
  unharmed(by);
});

test("a client that asks and never reads cannot make us keep answers", () => {
  const { s, by } = pair();
  s.peer.peer.full = true;
  const sent = until(s, 10_000, (_i, peer) => peer.send(frame(f.PING, 0, 0, new Uint8Array(8))));
  assert.ok(sent < 1100, String(sent));
  assert.equal(s.floods, ["output"]);
  unharmed(by);
});

test("a window that never opens holds one buffer a stream, for a bounded time; others go on", () => {
  const { s, by } = pair({ stallMs: 60_000 });
  s.peer.send(frame(f.SETTINGS, 0, 0, [0, f.INITIAL_WINDOW_SIZE, ...u32(0)]));
  s.peer.headers(1, GET).headers(3, GET);
  const [stalled, other] = [s.call(0), s.call(1)];
  stalled.answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
  assert.is(stalled.send("x".repeat(60_000)), false);
  other.answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
  other.send("abc");
  for (let i = 0; i < 9; i++) {
    s.driver.advance(10_000);
    s.peer.window(3, 1);
    unharmed(by);
  }
  assert.equal(s.floods, ["stalled"]);
  assert.is(stalled.aborted?.kind, "client-gone");
  assert.is(body(s.peer.take(), 3), "abc");
  assert.is(other.aborted, null);
  other.reply.end();
  assert.is(s.inFlight.count, 0);
});

test("a body nobody takes stays within the stream's window, and others use the connection", () => {
  const { s } = pair();
  s.peer.headers(1, POST, false).headers(3, POST, false);
  s.call(0).ready = false;
  for (let i = 0; i < 4; i++) s.peer.data(1, 16_000);
  for (let i = 0; i < 100; i++) s.peer.data(3, 16_000);
  assert.is(s.call(1).body.length, 1_600_000);
  assert.is(s.call(0).body.length, 16_000);
  s.peer.data(1, 16_000); // over the window of its stream
  assert.is(codeOf(s.peer.only(f.RST_STREAM)[0]), f.FLOW_CONTROL_ERROR);
  s.peer.data(3, "", true);
  assert.is(s.call(1).ends, 1);
});

test("a preface, frame or header block that does not become whole ends in time", () => {
  const half: Record<string, (s: ServerFixture) => void> = {
    "half a preface": (s) => s.peer.send(f.PREFACE.slice(0, 20)),
    "no SETTINGS": (s) => s.peer.send(f.PREFACE),
    "half a frame": (s) => s.peer.hello().send(frame(f.PING, 0, 0, new Uint8Array(8)).slice(0, 12)),
    "half a block": (s) => s.peer.hello().send(frame(f.HEADERS, 0, 1, [0x82])),
  };
  for (const [what, begin] of Object.entries(half)) {
    const s = server();
    begin(s);
    s.driver.advance(9_000);
    assert.is(s.peer.peer.shutdown, false, what);
    s.driver.advance(1_100);
    assert.ok(s.peer.peer.shutdown, what);
    assert.equal(s.floods, ["slow"], what);
    s.driver.advance(1_100);
    assert.ok(s.gone(), what);
  }
});

test("bytes one by one are no reason to wait longer for a header block", () => {
  const s = server();
  s.peer.hello().send(frame(f.HEADERS, 0, 1, [0x82]));
  for (let i = 0; i < 11 && !s.peer.peer.shutdown; i++) {
    s.peer.send(frame(f.CONTINUATION, 0, 1, [0x86]));
    s.driver.advance(1_000);
  }
  assert.ok(s.peer.peer.shutdown);
});

test("a body that always ends in the middle of a frame is not slow", () => {
  const s = server();
  s.peer.hello().headers(1, POST, false);
  const whole = frame(f.DATA, 0, 1, new Uint8Array(100));
  s.peer.send(whole.slice(0, 50));
  for (let i = 0; i < 30; i++) {
    s.peer.send(new Uint8Array([...whole.slice(50), ...whole.slice(0, 50)]));
    s.driver.advance(1_000);
  }
  assert.is(s.peer.peer.shutdown, false);
  assert.is(s.call(0).body.length, 3000);
});

test("SETTINGS that are never acknowledged end the connection", () => {
  const s = server();
  s.peer.send(f.PREFACE, frame(f.SETTINGS, 0, 0));
  s.driver.advance(10_100);
  assert.is(codeOf(s.peer.only(f.GOAWAY)[0]), f.SETTINGS_TIMEOUT);
});

test("a connection without streams ends when it was idle, one with a stream does not", () => {
  const s = server({ idleMs: 20_000, stallMs: 10_000 });
  s.peer.hello().headers(1, GET);
  s.driver.advance(100_000);
  assert.is(s.peer.peer.shutdown, false);
  s.call(0).answer("x");
  s.driver.advance(15_000);
  assert.is(s.peer.peer.shutdown, false);
  s.driver.advance(12_000);
  assert.ok(s.peer.peer.shutdown);
  assert.is(codeOf(s.peer.only(f.GOAWAY)[0]), f.NO_ERROR);
});

test("a silent client is asked by PING, and gone when it does not answer", () => {
  const s = server({ keepAlive: { intervalMs: 10_000, timeoutMs: 3_000 } });
  s.peer.hello().headers(1, GET);
  s.driver.advance(10_100);
  const [ping] = s.peer.only(f.PING);
  assert.ok(ping !== undefined);
  s.peer.send(frame(f.PING, f.ACK, 0, ping.payload));
  s.driver.advance(10_100);
  assert.is(s.peer.only(f.PING).length, 1);
  s.driver.advance(3_200);
  assert.ok(s.peer.peer.shutdown);
  assert.is(s.call(0).aborted?.kind, "client-gone");
});

test.run();
