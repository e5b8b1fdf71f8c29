import { test } from "uvu";
import * as assert from "uvu/assert";
import { Breaker } from "../../../src/proxy/outbound/breaker.ts";
import { seeded } from "../../support/random.ts";

const ACCRUAL = { maxFailures: 3, minBackoffMs: 1000, maxBackoffMs: 4000, jitter: 0 };
const make = () => new Breaker(ACCRUAL, seeded(1));

function fail(b: Breaker, times: number, nowMs: number): void {
  for (let i = 0; i < times; i++) {
    b.started();
    b.ended(true, nowMs);
  }
}

test("failures in a row eject, and a success in between starts over", () => {
  const b = make();
  fail(b, 2, 0);
  b.started();
  b.ended(false, 0);
  fail(b, 2, 0);
  assert.is(b.state, "available");
  fail(b, 1, 0);
  assert.is(b.state, "ejected");
  assert.not(b.admits(999));
  assert.ok(b.admits(1000));
});

test("one probe at a time, and its outcome decides", () => {
  const b = make();
  fail(b, 3, 0);
  b.started();
  assert.is(b.state, "probing");
  assert.not(b.admits(1_000_000), "no second request while the probe is out");
  b.ended(false, 1500);
  assert.is(b.state, "available");
  fail(b, 2, 1500);
  assert.is(b.state, "available", "the count starts over");
});

test("each failed probe doubles the time up to the maximum, a good one resets it", () => {
  const b = make();
  fail(b, 3, 0);
  let now = 0;
  for (const wait of [1000, 2000, 4000, 4000]) {
    assert.not(b.admits(now + wait - 1));
    now += wait;
    assert.ok(b.admits(now));
    b.started();
    if (wait !== 4000 || now < 10_000) b.ended(true, now);
    else b.ended(false, now);
  }
  fail(b, 3, now);
  assert.ok(b.admits(now + 1000), "from the beginning again");
});

test("outcomes of requests from before the ejection do not end it", () => {
  const b = make();
  for (let i = 0; i < 5; i++) b.started();
  for (let i = 0; i < 3; i++) b.ended(true, 0);
  b.ended(false, 10);
  assert.is(b.state, "ejected");
});

test("a probe that the client gave up is followed by another", () => {
  const b = make();
  fail(b, 3, 0);
  b.started();
  b.abandoned();
  assert.ok(b.admits(1000));
  b.abandoned();
  assert.is(b.state, "ejected");
});

const RATE = { threshold: 0.8, windowMs: 10_000, minRequests: 5 };
const byRate = () =>
  new Breaker({ ...ACCRUAL, maxFailures: Infinity, successRate: RATE }, seeded(1), 0);

function outcomes(b: Breaker, text: string, nowMs: number): void {
  for (const c of text) {
    b.started();
    b.ended(c === "x", nowMs, c === "o");
  }
}

test("too small a share of good answers ejects, once there are enough of them", () => {
  const b = byRate();
  outcomes(b, "x..x", 0);
  assert.is(b.state, "available", "four say nothing");
  outcomes(b, ".", 100);
  assert.is(b.state, "ejected", "three of five are under 80 %");
  const good = byRate();
  outcomes(good, "x....x....", 0);
  assert.is(good.state, "available", "eight of ten are enough");
});

test("what was refused for want of room counts against the rate, not as a failure in a row", () => {
  const b = byRate();
  outcomes(b, "...oo", 0);
  assert.is(b.state, "ejected");
  const inRow = make();
  outcomes(inRow, "oooooooo", 0);
  assert.is(inRow.state, "available");
});

test("answers leave the window with time, and an endpoint that is back starts afresh", () => {
  const b = byRate();
  outcomes(b, "xx", 0);
  outcomes(b, "...", 10_500);
  assert.is(b.state, "available", "the failures are forgotten");
  outcomes(b, "xx", 10_600);
  assert.is(b.state, "ejected");
  assert.ok(b.admits(11_600));
  outcomes(b, ".", 11_600);
  assert.is(b.state, "available");
  outcomes(b, "x..", 11_700);
  assert.is(b.state, "available", "what it did before is no matter");
});

test.run();
