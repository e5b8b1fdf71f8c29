import { connect } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { delay } from "../../src/core/clock.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { freePorts } from "../support/free-port.ts";
import { seeded } from "../support/random.ts";
import { skip, SKIP_MARK } from "../support/skip.ts";

test("FakeClock fires timers in order of their due time, each at its own time", () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  clock.after(20, () => seen.push(`b@${clock.now()}`));
  clock.after(10, () => {
    seen.push(`a@${clock.now()}`);
    clock.after(5, () => seen.push(`nested@${clock.now()}`));
  });
  const cancel = clock.after(12, () => seen.push("cancelled"));
  cancel();
  cancel();
  clock.advance(30);
  assert.equal(seen, ["a@10", "nested@15", "b@20"]);
  assert.is(clock.now(), 30);
  assert.is(clock.pending, 0);
});

test("FakeClock moves the date without moving time", () => {
  const clock = new FakeClock(1000);
  clock.advance(5);
  assert.is(clock.wall(), 1005);
  clock.setWall(500);
  assert.is(clock.wall(), 500);
  assert.is(clock.now(), 5);
});

test("FakeClock.advanceAsync() lets promises run between timers", async () => {
  const clock = new FakeClock();
  const seen: number[] = [];
  const work = (async () => {
    await delay(clock, 10);
    seen.push(clock.now());
    await delay(clock, 10);
    seen.push(clock.now());
  })();
  await clock.advanceAsync(25);
  await work;
  assert.equal(seen, [10, 20]);
});

test("seeded() repeats itself and differs by seed", () => {
  const take = (seed: number) => Array.from({ length: 5 }, seeded(seed));
  assert.equal(take(7), take(7));
  assert.not.equal(take(7), take(8));
  assert.is(seeded(1).seed, 1);
});

test("seeded().pieces() cuts without losing or reordering a byte", () => {
  const random = seeded(3);
  const whole = random.bytes(1000);
  const pieces = random.pieces(whole, 7);
  assert.ok(pieces.every((p) => p.length >= 1 && p.length <= 7));
  assert.equal(Uint8Array.from(pieces.flatMap((p) => [...p])), whole);
});

test("freePorts() gives different ports on which nobody listens", async () => {
  const ports = await freePorts(5);
  assert.is(new Set(ports).size, 5);
  const refused = await new Promise((resolve) => {
    connect(ports[0] ?? 0, "127.0.0.1").once("error", () => resolve(true)).once("connect", () => {
      resolve(false);
    });
  });
  assert.is(refused, true);
});

test("skip() prints one line for the runner and wants a reason", () => {
  const lines: string[] = [];
  const log = console.log;
  console.log = (line: string) => lines.push(line);
  try {
    skip("x", "y is missing");
    assert.throws(() => skip("x", " "), "needs a reason");
  } finally {
    console.log = log;
  }
  assert.equal(lines, [`${SKIP_MARK}{"name":"x","reason":"y is missing"}`]);
});

test.run();
