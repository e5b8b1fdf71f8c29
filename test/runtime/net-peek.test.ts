// What a listener makes of a connection's first bytes, and of their absence, under a fake clock.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { TimerWheel } from "../../src/core/timers.ts";
import { MAX_PEEK_BYTES, Peek } from "../../src/runtime/net-peek.ts";

/** The beginning of a record with a ClientHello, of which nothing else has come. */
const HELLO = [0x16, 3, 1, 2, 0, 1, 0];

function fixture(answers: readonly ("wait" | "serve")[] = []) {
  const timers = new TimerWheel(0);
  let now = 0;
  const said: string[] = [];
  const heard = new Map<string, () => void>();
  let buffered: Uint8Array | null = null;
  const socket = {
    destroyed: false,
    read: () => {
      const piece = buffered;
      buffered = null;
      return piece;
    },
    on: (event: string, f: () => void) => heard.set(event, f),
    once: (event: string, f: () => void) => heard.set(event, f),
    off: (event: string) => heard.delete(event),
  };
  const bytes = (from: Uint8Array) => JSON.stringify(Array.from(from));
  let asked = 0;
  const peek = new Peek(socket, {
    timers,
    now: () => now,
    detectMs: 10_000,
    silent: (ms) => {
      const answer = answers[asked++] ?? "wait";
      said.push(`silent ${ms}: ${answer}`);
      return answer === "wait" ? null : {
        plain: (first) => said.push(`plain ${bytes(first)}`),
        withdraw: () => said.push("withdrawn"),
      };
    },
    done: (first, ms) => said.push(`done ${bytes(first)} after ${ms}`),
  });
  return {
    said,
    peek,
    timers,
    listening: () => [...heard.keys()],
    say: (...piece: number[]) => {
      buffered = Uint8Array.from(piece);
      heard.get("readable")?.();
    },
    end: () => heard.get("end")?.(),
    advance(ms: number) {
      for (const until = now + ms; now < until;) timers.turn(now = Math.min(until, now + 16));
    },
  };
}

test("a client that speaks at once is told apart at once, and nothing is left armed", () => {
  const f = fixture();
  f.say(71, 69, 84);
  assert.equal(f.said, ["done [71,69,84] after 0"]);
  f.advance(20_000);
  assert.is(f.said.length, 1);
  assert.is(f.timers.armed, 0);
  assert.equal(f.listening(), []);
});

test("who begins like TLS is waited for until it is whole, or too long, or too late", () => {
  const late = fixture();
  late.say(...HELLO);
  late.advance(9_900);
  assert.equal(late.said, []);
  late.advance(200);
  assert.equal(late.said, [`done ${JSON.stringify(HELLO)} after 0`]);
  const long = fixture();
  long.say(...HELLO);
  long.say(...new Array<number>(MAX_PEEK_BYTES).fill(0));
  assert.is(long.said.length, 1);
});

test("a silent client is asked about early, then ever less often, and served when the time is over", () => {
  const f = fixture();
  f.advance(12_000);
  assert.equal(f.said, [
    ...[32, 48, 80, 160, 320, 640, 1280, 2560, 5120].map((ms) => `silent ${ms}: wait`),
    "done [] after 10000",
  ]);
});

test("a client that is served tentatively and then speaks plain text goes on with its bytes", () => {
  const f = fixture(["wait", "serve"]);
  f.advance(3_000);
  assert.equal(f.said, ["silent 32: wait", "silent 48: serve"]);
  f.say(80, 73, 78, 71);
  assert.is(f.said.at(-1), "plain [80,73,78,71]");
  f.advance(20_000);
  assert.is(f.said.length, 3);
});

test("a client that is served tentatively and then begins TLS loses what was begun, and nothing else", () => {
  const f = fixture(["serve"]);
  f.advance(100);
  f.say(HELLO[0]!);
  assert.is(f.said.at(-1), "withdrawn");
  f.say(...HELLO.slice(1));
  f.advance(9_000);
  assert.is(f.said.length, 2, "not asked about again: it has spoken");
  f.advance(1_000);
  assert.is(f.said.at(-1), `done ${JSON.stringify(HELLO)} after 0`);
});

test("once it is decided elsewhere, nothing is read, asked or told any more", () => {
  const f = fixture(["serve"]);
  f.advance(100);
  f.peek.stop();
  assert.equal(f.listening(), []);
  f.advance(20_000);
  assert.equal(f.said, ["silent 32: serve"]);
  assert.is(f.timers.armed, 0);
});

test("a client that ends is passed on with what it said", () => {
  const f = fixture();
  f.say(...HELLO);
  f.end();
  assert.equal(f.said, [`done ${JSON.stringify(HELLO)} after 0`]);
  const silent = fixture(["serve"]);
  silent.advance(100);
  silent.end();
  assert.equal(silent.said, ["silent 32: serve", "plain []"]);
});

test.run();
