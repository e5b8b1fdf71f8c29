import { test } from "uvu";
import * as assert from "uvu/assert";
import { PeakEwma, pickP2c } from "../../../src/proxy/outbound/peak-ewma.ts";
import { seeded } from "../../support/random.ts";

const near = (a: number, b: number, by = 0.01) =>
  assert.ok(Math.abs(a - b) <= by, `${a} is not near ${b}`);

test("a new endpoint starts at the default latency", () => {
  near(new PeakEwma(30, 10_000, 0).estimate(0), 30);
});

test("the estimate rises to a worse latency at once and falls with the time constant", () => {
  const ewma = new PeakEwma(30, 10_000, 0);
  ewma.observe(200, 0);
  near(ewma.estimate(0), 200);
  ewma.observe(10, 10_000);
  near(ewma.estimate(10_000), 200 / Math.E + 10 * (1 - 1 / Math.E));
});

test("an endpoint that is not asked is forgiven in time, but never below the floor", () => {
  const ewma = new PeakEwma(30, 10_000, 0);
  ewma.observe(1000, 0);
  near(ewma.estimate(10_000), 1000 / Math.E, 0.1);
  near(ewma.estimate(10_000_000), 1);
});

test("load grows with what is pending", () => {
  const ewma = new PeakEwma(30, 10_000, 0);
  ewma.pending = 3;
  near(ewma.load(0), 120);
});

test("a clock that stands still changes nothing but peaks", () => {
  const ewma = new PeakEwma(30, 10_000, 5);
  ewma.observe(20, 5);
  near(ewma.estimate(5), 30);
});

test("pickP2c() never picks the more loaded of two", () => {
  const random = seeded(5);
  for (let i = 0; i < 1000; i++) assert.is(pickP2c(2, (k) => (k === 0 ? 5 : 4), random), 1);
});

test("pickP2c() picks two different ones, each pair equally often", () => {
  const random = seeded(6);
  const seen = new Map<string, number>();
  for (let i = 0; i < 30_000; i++) {
    const pair: number[] = [];
    pickP2c(4, (k) => pair.push(k), random);
    assert.is(pair.length, 2);
    assert.is.not(pair[0], pair[1]);
    const key = pair.sort().join();
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  assert.is(seen.size, 6);
  for (const n of seen.values()) assert.ok(n > 4500 && n < 5500, `${n} of 30000`);
});

test("traffic moves away from a slow endpoint and comes back when it is well again", () => {
  const random = seeded(9);
  const endpoints = [
    new PeakEwma(30, 10_000, 0),
    new PeakEwma(30, 10_000, 0),
    new PeakEwma(30, 10_000, 0),
  ];
  let now = 0;
  const share = (slowMs: number, rounds: number) => {
    const hits = [0, 0, 0];
    for (let i = 0; i < rounds; i++) {
      now += 5;
      const at = pickP2c(3, (k) => (endpoints[k] as PeakEwma).load(now), random);
      hits[at] = (hits[at] as number) + 1;
      (endpoints[at] as PeakEwma).observe(at === 0 ? slowMs : 5, now);
    }
    return (hits[0] as number) / rounds;
  };
  share(5, 5000);
  const slow = share(500, 5000);
  assert.ok(slow < 0.1, `slow endpoint got ${slow}`);
  share(5, 20_000);
  const well = share(5, 5000);
  assert.ok(well > 0.15, `recovered endpoint got ${well}`);
});

test.run();
