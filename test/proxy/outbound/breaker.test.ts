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

test.run();
