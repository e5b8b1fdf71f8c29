import { test } from "uvu";
import * as assert from "uvu/assert";
import { createTimer, type Timer, TimerWheel } from "../../src/core/timers.ts";
import { seeded } from "../support/random.ts";

function turnTo(wheel: TimerWheel, from: number, to: number, step = 5): void {
  for (let now = from; now <= to; now += step) wheel.turn(now);
}

test("a timer fires once, not before its time and at most one tick late", () => {
  const wheel = new TimerWheel(0);
  let now = 0;
  const fired: number[] = [];
  const timer = createTimer(() => fired.push(now));
  wheel.arm(timer, 100);
  for (now = 0; now <= 400; now++) wheel.turn(now);
  assert.is(fired.length, 1);
  assert.ok((fired[0] as number) >= 100 && (fired[0] as number) <= 116 + 1, String(fired[0]));
  assert.is(wheel.armed, 0);
});

test("a cancelled timer does not fire, and may be armed again", () => {
  const wheel = new TimerWheel(0);
  let fired = 0;
  const timer = createTimer(() => fired++);
  wheel.arm(timer, 50);
  wheel.cancel(timer);
  wheel.cancel(timer);
  turnTo(wheel, 0, 200);
  assert.is(fired, 0);
  wheel.arm(timer, 300);
  turnTo(wheel, 200, 400);
  assert.is(fired, 1);
});

test("arming later only moves the time, arming earlier fires earlier", () => {
  const wheel = new TimerWheel(0);
  let now = 0;
  const fired: number[] = [];
  const timer = createTimer(() => fired.push(now));
  wheel.arm(timer, 100);
  wheel.arm(timer, 500);
  for (; now <= 450; now++) wheel.turn(now);
  assert.is(fired.length, 0);
  wheel.arm(timer, 460);
  for (; now <= 600; now++) wheel.turn(now);
  assert.is(fired.length, 1);
  assert.ok((fired[0] as number) < 480);
});

test("timers may arm and cancel each other while they fire", () => {
  const wheel = new TimerWheel(0);
  const log: string[] = [];
  const b: Timer = createTimer(() => log.push("b"));
  const a: Timer = createTimer(() => {
    log.push("a");
    wheel.cancel(b);
    if (log.length === 1) wheel.arm(a, 500);
  });
  wheel.arm(b, 100);
  wheel.arm(a, 100);
  turnTo(wheel, 0, 300);
  assert.is(log[0], "a");
  assert.not(log.includes("b") && log.indexOf("b") > log.indexOf("a"));
  turnTo(wheel, 300, 600);
  assert.is(log.filter((x) => x === "a").length, 2);
});

test("after a long stall everything that is due fires at once", () => {
  const wheel = new TimerWheel(0);
  let fired = 0;
  for (const at of [10, 1000, 8192, 9000, 50_000]) wheel.arm(createTimer(() => fired++), at);
  wheel.turn(60_000);
  assert.is(fired, 5);
});

test("nextAt() and onEarlier tell the owner when to wake", () => {
  const wheel = new TimerWheel(0);
  const asked: number[] = [];
  wheel.onEarlier = (at) => {
    asked.push(at);
    wheel.planned = at;
  };
  wheel.arm(createTimer(() => {}), 1000);
  wheel.arm(createTimer(() => {}), 2000);
  wheel.arm(createTimer(() => {}), 100);
  assert.is(asked.length, 2);
  assert.ok(
    (asked[0] as number) >= 1000 && (asked[1] as number) >= 100 && (asked[1] as number) < 120,
  );
  assert.is(wheel.nextAt(), asked[1]);
});

test("random schedules fire every armed timer exactly once and no cancelled one", () => {
  const random = seeded(21);
  for (let round = 0; round < 50; round++) {
    const wheel = new TimerWheel(0);
    let now = 0;
    const due = new Map<Timer, number>();
    const timers = Array.from({ length: 30 }, () => {
      const timer: Timer = createTimer(() => {
        const at = due.get(timer);
        assert.ok(at !== undefined && at <= now, "fired early or unasked");
        due.delete(timer);
      });
      return timer;
    });
    for (let i = 0; i < 300; i++) {
      const timer = random.pick(timers);
      if (random() < 0.2) {
        wheel.cancel(timer);
        due.delete(timer);
      } else {
        const at = now + random.int(0, 12_000);
        wheel.arm(timer, at);
        due.set(timer, at);
      }
      now += random.int(0, 200);
      wheel.turn(now);
    }
    now += 20_000;
    wheel.turn(now);
    wheel.turn(now + 20_000);
    assert.is(due.size, 0);
  }
});

test.run();
