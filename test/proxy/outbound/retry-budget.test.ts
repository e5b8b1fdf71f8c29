import { test } from "uvu";
import * as assert from "uvu/assert";
import { RetryTokens } from "../../../src/proxy/outbound/retry-budget.ts";
import { seeded } from "../../support/random.ts";

test("without traffic only the reserve may be retried", () => {
  const tokens = new RetryTokens({ ratio: 0.2, minPerSecond: 2, ttlMs: 10_000 }, 0);
  let made = 0;
  while (tokens.withdraw(0)) made++;
  assert.is(made, 20);
});

test("each request deposits its share", () => {
  const tokens = new RetryTokens({ ratio: 0.2, minPerSecond: 0, ttlMs: 10_000 }, 0);
  for (let i = 0; i < 50; i++) tokens.deposit(0);
  assert.is(tokens.available(0), 10);
});

test("what is not used in time is lost", () => {
  const tokens = new RetryTokens({ ratio: 1, minPerSecond: 0, ttlMs: 10_000 }, 0);
  for (let i = 0; i < 100; i++) tokens.deposit(0);
  assert.is(tokens.available(9_000), 100);
  assert.is(tokens.available(11_000), 0);
});

test("retries never exceed ratio times requests plus the reserve, in any window of the ttl", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seeded(seed);
    const ratio = random.pick([0, 0.1, 0.2, 1]);
    const minPerSecond = random.pick([0, 1, 10]);
    const ttlMs = random.pick([1000, 10_000]);
    const tokens = new RetryTokens({ ratio, minPerSecond, ttlMs }, 0);
    const requests: number[] = [];
    const retries: number[] = [];
    let now = 0;
    for (let i = 0; i < 5000; i++) {
      now += random.pick([0, 0, 1, 5, 50, random.int(0, ttlMs / 4)]);
      if (random() < 0.6) {
        tokens.deposit(now);
        requests.push(now);
      } else if (tokens.withdraw(now)) retries.push(now);
    }
    // Deposits live up to one ttl, so what is spent in a window was earned in it or one ttl before.
    for (let k = 0; k < retries.length; k += 7) {
      const from = retries[k] as number;
      const to = from + ttlMs * 0.9;
      const spent = retries.filter((t) => t >= from && t <= to).length;
      const earned = requests.filter((t) => t >= from - ttlMs && t <= to).length;
      const bound = ratio * earned + 2 * minPerSecond * ttlMs / 1000 + 1;
      assert.ok(spent <= bound, `seed ${seed}: ${spent} retries, at most ${bound}`);
    }
  }
});

test("a clock that jumps far ahead forgets everything once", () => {
  const tokens = new RetryTokens({ ratio: 1, minPerSecond: 1, ttlMs: 1000 }, 0);
  for (let i = 0; i < 5; i++) tokens.deposit(0);
  assert.is(tokens.available(1e12), 1);
});

test.run();
