import { test } from "uvu";
import * as assert from "uvu/assert";
import { LATENCY_BOUNDS_MS, quantile } from "../../../src/control/admin/quantile.ts";

const BOUNDS = [1, 2, 4];

test("quantile() interpolates inside of the bucket that holds the rank", () => {
  assert.is(quantile(0.5, [0, 0, 10, 10], BOUNDS), 3);
  assert.is(quantile(0.5, [10, 10, 10, 10], BOUNDS), 0.5);
  assert.is(quantile(1, [0, 10, 10, 10], BOUNDS), 2);
});

test("quantile() passes over empty buckets", () => {
  assert.is(quantile(0.75, [5, 5, 10, 10], BOUNDS), 3);
});

test("quantile() is the largest bound where only more than that is known", () => {
  assert.is(quantile(0.99, [0, 0, 0, 10], BOUNDS), 4);
});

test("quantile() is null when nothing was observed", () => {
  assert.is(quantile(0.5, [0, 0, 0, 0], BOUNDS), null);
  assert.is(quantile(0.5, [], BOUNDS), null);
  assert.is(quantile(0.5, [0, 0, 0, NaN], BOUNDS), null);
});

test("quantile() never falls when q grows, and stays within the bounds", () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 200; round++) {
    let total = 0;
    const cumulative = [...LATENCY_BOUNDS_MS, Infinity]
      .map(() => total += random() < 0.5 ? 0 : Math.floor(random() * 20));
    if (total === 0) continue;
    let last = 0;
    for (const q of [0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1]) {
      const value = quantile(q, cumulative) as number;
      assert.ok(value >= last && value <= 50000, `seed 7, round ${round}: ${value} < ${last}`);
      last = value;
    }
  }
});

test.run();
