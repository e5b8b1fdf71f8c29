// Random HTTP/2 peers and random services, by seed: whatever is sent, nothing throws, what we send is
// legal and within the peer's windows, and every exchange that began ends exactly once.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { MeshError } from "../../../src/core/errors.ts";
import * as f from "../../../src/proxy/http2/frames.ts";
import { turn } from "../../support/memory-driver.ts";
import { fuzzSeed, type Random, seeded } from "../../support/random.ts";
import { type Fields, frame, GET, POST, u32 } from "./raw-peer.ts";
import { type Call, responseHead, server, type ServerFixture } from "./server-fixture.ts";

const RUNS = 250;
const STEPS = 120;

/** What our side sent so far, checked as it comes. */
class Watch {
  readonly #s: ServerFixture;
  readonly #ended = new Set<number>();
  readonly #sent = new Map<number, number>();
  readonly #granted = new Map<number, number>();
  initial = f.DEFAULT_WINDOW_BYTES;
  connection = f.DEFAULT_WINDOW_BYTES;
  over = false;

  constructor(s: ServerFixture) {
    this.#s = s;
  }

  grant(stream: number, bytes: number): void {
    if (stream === 0) this.connection += bytes;
    else this.#granted.set(stream, (this.#granted.get(stream) ?? 0) + bytes);
  }

  check(): void {
    for (const g of this.#s.peer.take()) {
      assert.ok(g.payload.length <= f.DEFAULT_MAX_FRAME_BYTES);
      assert.ok(!this.over || g.type !== f.DATA, "DATA after the connection's last GOAWAY");
      if (g.type === f.GOAWAY && f.readU32(g.payload, 4) !== f.NO_ERROR) this.over = true;
      if (g.type === f.RST_STREAM) this.#ended.add(g.stream);
      if (g.type !== f.DATA && g.type !== f.HEADERS) continue;
      assert.not(this.#ended.has(g.stream), `stream ${g.stream} was over`);
      if ((g.flags & f.END_STREAM) !== 0) this.#ended.add(g.stream);
      if (g.type !== f.DATA) continue;
      this.connection -= g.payload.length;
      const sent = (this.#sent.get(g.stream) ?? 0) + g.payload.length;
      this.#sent.set(g.stream, sent);
      const window = this.initial + (this.#granted.get(g.stream) ?? 0);
      assert.ok(sent <= window, `${sent} bytes in a window of ${window}`);
      assert.ok(this.connection >= 0, "more than the connection's window");
    }
  }
}

const BAD: Fields = [["x-a", "1"], [":path", "/"]];

function fields(random: Random): Fields {
  const base = random.pick([GET, POST, GET, POST, BAD]);
  const more: [string, string][] = [];
  for (let i = random.int(0, 4); i > 0; i--) {
    more.push(random.pick<[string, string]>([
      ["content-length", String(random.int(0, 40))],
      ["cookie", "a=b"],
      ["te", "trailers"],
      ["content-type", "application/grpc"],
      ["x-long", "y".repeat(random.int(0, 300))],
      ["expect", "100-continue"],
    ]));
  }
  return [...base, ...more];
}

/** The service does something with one of its requests. */
function serve(random: Random, call: Call & { state?: string }): void {
  if (call.aborted !== null || call.state === "over") return;
  const { reply } = call;
  const state = call.state ?? "new";
  const over = () => (call.state = "over");
  switch (random.int(0, 7)) {
    case 0:
      if (state === "new") reply.fail(new MeshError("overload", "too much"));
      else reply.abort(new MeshError("upstream-closed", "gone"));
      // a request that the server ended hears no more of it
      over();
      return;
    case 1:
      if (state === "new") {
        reply.informational(responseHead("HTTP/1.1 103 Early Hints\r\nlink: a"));
      }
      return;
    case 2:
    case 3:
      if (state !== "new") return;
      call.state = "headed";
      reply.head(responseHead("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"));
      return;
    case 4:
    case 5:
      if (state === "headed") call.send("z".repeat(random.int(1, 40_000)));
      return;
    case 6:
      call.ready = !call.ready;
      if (call.ready) call.wake?.();
      return;
    default:
      if (state !== "headed") return;
      over();
      if (random() < 0.3) call.x.trailers = responseHead("HTTP/1.1 200 OK\r\nx-t: 1");
      reply.end();
  }
}

function act(random: Random, s: ServerFixture, watch: Watch, ids: number[]): void {
  const { peer } = s;
  const id = ids.length === 0 ? 1 : random.pick(ids);
  switch (random.int(0, 19)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      const next = (ids.at(-1) ?? -1) + 2;
      ids.push(next);
      peer.headers(next, fields(random), random() < 0.4);
      return;
    }
    case 4:
    case 5:
    case 6:
      peer.data(id, random.int(0, 2000), random() < 0.3);
      return;
    case 7:
      peer.headers(id, random.pick<Fields>([[["x-sum", "1"]], [[":path", "/"]]]), random() < 0.8);
      return;
    case 8: {
      const bytes = random.int(1, 100_000);
      watch.grant(id, bytes);
      peer.window(id, bytes);
      return;
    }
    case 9: {
      const bytes = random.int(1, 100_000);
      watch.grant(0, bytes);
      peer.window(0, bytes);
      return;
    }
    case 10:
      peer.rst(id, random.int(0, 14));
      return;
    case 11:
      peer.send(frame(f.PING, 0, 0, new Uint8Array(8)));
      return;
    case 12: {
      const bytes = random.int(0, 100_000);
      watch.initial = Math.max(watch.initial, bytes); // what was sent under a larger one stays sent
      peer.send(frame(f.SETTINGS, 0, 0, [0, f.INITIAL_WINDOW_SIZE, ...u32(bytes)]));
      return;
    }
    case 13:
      peer.send(frame(f.PRIORITY, 0, id, [0, 0, 0, 0, 1]));
      return;
    case 14:
      if (random() < 0.2) {
        peer.send(
          frame(random.int(0, 12), random.int(0, 255), random.pick([0, id]), random.bytes(8)),
        );
      }
      return;
    case 15:
      if (random() < 0.1) peer.send(random.bytes(random.int(1, 60)));
      return;
    case 16:
      peer.peer.full = true;
      return;
    case 17:
      if (peer.peer.full) s.driver.drain(peer.peer);
      return;
    case 18:
      s.driver.advance(random.int(1, 500));
      return;
    default:
      if (random() < 0.1) s.server.drain();
  }
}

test("random peers and services break nothing", async () => {
  const random = seeded(fuzzSeed("http2 session"));
  let calls = 0;
  for (let run = 0; run < RUNS; run++) {
    const s = server({
      streamWindowBytes: random.pick([65_535, 1000, 10]),
      connectionWindowBytes: random.pick([65_535, 1_048_576]),
      maxConcurrentStreams: random.pick([2, 10, 100]),
    });
    const watch = new Watch(s);
    s.peer.hello();
    const ids: number[] = [];
    for (let step = 0; step < STEPS && s.peer.peer.closed === null; step++) {
      if (s.calls.length > 0 && random() < 0.5) serve(random, random.pick(s.calls));
      else act(random, s, watch, ids);
      watch.check();
    }
    await turn();
    if (s.peer.peer.core !== null) {
      s.driver.fail(s.peer.peer, { kind: "reset", message: "over" });
    }
    for (const call of s.calls) {
      const over = (call as Call & { state?: string }).state === "over";
      assert.ok(call.aborted !== null || over, call.line);
    }
    // What the server aborted is over; what the service had ended, too.
    assert.is(s.inFlight.count, 0, `run ${run}`);
    assert.is(s.ended.length, s.calls.length, `run ${run}`);
    assert.is(s.server.session.streams, 0);
    assert.ok(s.gone());
    assert.is(s.driver.timers.armed, 0, `run ${run}`);
    calls += s.calls.length;
  }
  assert.ok(calls > RUNS, String(calls));
});

test("random bytes after the preface end a connection, and nothing else", () => {
  const random = seeded(fuzzSeed("http2 bytes"));
  for (let run = 0; run < 500; run++) {
    const s = server();
    s.peer.hello();
    for (const piece of random.pieces(random.bytes(2000), 200)) {
      // mostly short frames, so that their contents matter
      if (random() < 0.7) {
        piece.set([0, 0, Math.max(0, piece.length - 9) & 63].slice(0, piece.length));
      }
      s.peer.send(piece);
    }
    if (s.peer.peer.core !== null) s.driver.fail(s.peer.peer, { kind: "reset", message: "over" });
    assert.is(s.inFlight.count, 0);
    assert.is(s.driver.timers.armed, 0);
  }
});

test("bytes that come one by one mean the same as bytes that come at once", () => {
  const random = seeded(fuzzSeed("http2 pieces"));
  for (let run = 0; run < 60; run++) {
    const whole: Uint8Array[] = [];
    const source = server();
    const record = (bytes: Uint8Array) => void whole.push(bytes);
    source.peer.send = function (...frames: Uint8Array[]) {
      for (const one of frames) record(one);
      return this;
    };
    source.peer.hello();
    for (let i = 0; i < 5; i++) {
      source.peer.headers(2 * i + 1, fields(random), false);
      source.peer.data(2 * i + 1, random.int(0, 300), true);
    }
    const all = Uint8Array.from(whole.flatMap((b) => [...b]));
    const seen = [1, 7, 100_000].map((most) => {
      const s = server({ serve: (call) => call.answer("ok") });
      for (const piece of random.pieces(all, most)) s.peer.send(piece);
      return JSON.stringify([
        s.calls.map((c) => [c.line, c.body, c.ends]),
        s.peer.take().map((g) => [g.type, g.stream, g.fields, [...g.payload]]),
      ]);
    });
    assert.is(seen[1], seen[0]);
    assert.is(seen[2], seen[0]);
  }
});

test.run();
