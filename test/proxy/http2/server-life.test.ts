// Streams of one accepted HTTP/2 connection over its life: the announced number, drains, what is
// configured, and that streams used again remember nothing.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { headerName } from "../../../src/core/head.ts";
import * as f from "../../../src/proxy/http2/frames.ts";
import { body, codeOf, frame, GET, POST } from "./raw-peer.ts";
import { server } from "./server-fixture.ts";

test("streams over the announced number are refused, and the others are not harmed", () => {
  const s = server({ maxConcurrentStreams: 2 });
  s.peer.hello().headers(1, GET).headers(3, GET).headers(5, GET);
  const [refused] = s.peer.only(f.RST_STREAM);
  assert.equal([refused?.stream, codeOf(refused)], [5, f.REFUSED_STREAM]);
  s.call(0).answer("a");
  s.peer.headers(7, GET);
  assert.is(s.calls.length, 3);
});

test("a drain says so, takes what the client had begun, refuses after that, and ends", () => {
  const s = server();
  s.peer.hello().headers(1, GET);
  s.server.drain();
  let got = s.peer.take();
  assert.equal(got.map((g) => g.type), [f.GOAWAY, f.PING]);
  assert.is(f.readU32(got[0]!.payload, 0), 0x7fffffff);
  s.peer.headers(3, GET); // was under way
  assert.is(s.calls.length, 2);
  s.peer.send(frame(f.PING, f.ACK, 0, got[1]!.payload));
  got = s.peer.take();
  assert.equal([got[0]?.type, f.readU32(got[0]!.payload, 0), codeOf(got[0])], [f.GOAWAY, 3, 0]);
  s.peer.headers(5, GET);
  assert.is(codeOf(s.peer.only(f.RST_STREAM)[0]), f.REFUSED_STREAM);
  s.call(0).answer("a");
  s.call(1).answer("b");
  assert.is(body(s.peer.take(), 3), "b");
  assert.ok(s.peer.peer.shutdown);
  assert.is(
    s.server.options.http2.sessions.size,
    1,
    "whoever drains waits until the client has heard",
  );
  s.driver.end(s.peer.peer);
  assert.ok(s.gone());
  assert.is(s.server.options.http2.sessions.size, 0);
});

test("a drain that the client never answers ends too", () => {
  const s = server();
  s.peer.hello();
  s.server.drain();
  s.driver.advance(2900);
  assert.not.ok(s.peer.peer.shutdown); // a busy peer may still answer
  s.driver.advance(200);
  assert.ok(s.peer.peer.shutdown);
  assert.is(s.server.options.http2.sessions.size, 1);
  s.driver.advance(1100);
  assert.is(s.peer.peer.closed, "flush");
  assert.is(s.server.options.http2.sessions.size, 0);
  assert.ok(s.gone());
});

test("what is configured is announced, and kept to", () => {
  const s = server({ maxFrameBytes: 40_000, maxHeadBytes: 2_000, maxResets: 3 });
  const [settings] = s.peer.only(f.SETTINGS);
  const told = new Map<number, number>();
  for (let at = 0; at < settings!.payload.length; at += 6) {
    told.set(settings!.payload[at + 1]!, f.readU32(settings!.payload, at + 2));
  }
  assert.is(told.get(f.MAX_FRAME_SIZE), 40_000);
  assert.is(told.get(f.MAX_HEADER_LIST_SIZE), 2_000);
  s.peer.hello().headers(1, POST, false).data(1, 40_000);
  assert.is(s.call(0).body.length, 40_000);
  s.peer.headers(3, [...GET, ["x-a", "x".repeat(2_000)]]);
  assert.is(s.peer.only(f.HEADERS)[0]?.fields[":status"], "431");
  for (let i = 0; i < 4; i++) s.peer.headers(5 + 2 * i, GET).rst(5 + 2 * i);
  assert.equal(s.floods, ["resets"]);
  const t = server({ maxFrameBytes: 40_000 });
  t.peer.hello().headers(1, POST, false).data(1, 40_001);
  assert.is(codeOf(t.peer.only(f.GOAWAY)[0]), f.FRAME_SIZE_ERROR);
});

test("streams are used again, and nothing of one request is seen by the next", () => {
  const s = server();
  s.peer.hello();
  for (let i = 0; i < 50; i++) {
    const id = 2 * i + 1;
    s.peer.headers(id, [...POST, ["x-n", String(i)]], false).data(id, `b${i}`, i % 2 === 0);
    if (i % 2 === 1) s.peer.headers(id, [["x-t", String(i)]]);
    const call = s.call(i);
    assert.is(call.x.request.get(headerName("x-n")), String(i));
    assert.is(call.body, `b${i}`);
    assert.is(call.x.requestTrailers?.get(headerName("x-t")) ?? null, i % 2 === 1 ? `${i}` : null);
    call.answer(`r${i}`);
    assert.is(body(s.peer.take(), id), `r${i}`);
  }
  assert.is(new Set(s.calls.map((c) => c.x)).size, 1);
  assert.is(s.inFlight.count, 0);
});

test.run();
