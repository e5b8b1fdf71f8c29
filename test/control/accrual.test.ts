import { test } from "uvu";
import * as assert from "uvu/assert";
import { Field } from "../../src/control/field.ts";
import { accrualOf } from "../../src/control/kinds/accrual.ts";

const P = "balancer.linkerd.io/failure-accrual";
const of = (annotations: Record<string, string>) =>
  accrualOf(new Field(annotations, ["metadata", "annotations"]));

test("no annotation means no accrual, the mode alone Linkerd's defaults", () => {
  assert.is(of({}), null);
  assert.equal(of({ [P]: "consecutive" }), {
    maxFailures: 7,
    minBackoffMs: 1000,
    maxBackoffMs: 60_000,
    jitter: 0.5,
  });
});

test("each annotation sets its value", () => {
  const set = of({
    [P]: "consecutive",
    [`${P}-consecutive-max-failures`]: "3",
    [`${P}-consecutive-min-penalty`]: "500ms",
    [`${P}-consecutive-max-penalty`]: "1m",
    [`${P}-consecutive-jitter-ratio`]: "0.25",
  });
  assert.equal(set, { maxFailures: 3, minBackoffMs: 500, maxBackoffMs: 60_000, jitter: 0.25 });
});

const RATE = "balancer.alpha.linkerd.io/failure-accrual-success-rate";

test("unified counts the success rate too, unless its threshold is 0", () => {
  assert.equal(of({ [P]: "unified" })?.successRate, {
    threshold: 0.8,
    windowMs: 10_000,
    minRequests: 5,
  });
  const set = {
    [P]: "unified",
    [`${RATE}-threshold`]: "0.5",
    [`${RATE}-window`]: "30s",
    [`${RATE}-min-requests`]: "20",
  };
  assert.equal(of(set)?.successRate, { threshold: 0.5, windowMs: 30_000, minRequests: 20 });
  assert.is(of({ ...set, [`${RATE}-threshold`]: "0" })?.successRate, undefined);
  assert.is(of({ ...set, [P]: "consecutive" })?.successRate, undefined);
  assert.throws(() => of({ ...set, [`${RATE}-threshold`]: "1.5" }), /threshold: is "1.5"/);
  assert.throws(() => of({ ...set, [`${RATE}-window`]: "1ms" }), /window: is shorter than 10ms/);
});

test("what cannot be read is named by field", () => {
  const bad: [Record<string, string>, RegExp][] = [
    [{ [P]: "consecutve" }, /failure-accrual: is "consecutve": write consecutive or unified/],
    [{ [P]: "consecutive", [`${P}-consecutive-max-failures`]: "0" }, /max-failures: is "0"/],
    [
      { [P]: "consecutive", [`${P}-consecutive-min-penalty`]: "10" },
      /min-penalty: is "10", not a duration/,
    ],
    [{ [P]: "consecutive", [`${P}-consecutive-jitter-ratio`]: "-1" }, /jitter-ratio: is "-1"/],
    [
      { [P]: "consecutive", [`${P}-consecutive-min-penalty`]: "2h" },
      /min-penalty: is longer than the max-penalty/,
    ],
  ];
  for (const [annotations, message] of bad) assert.throws(() => of(annotations), message);
});

test.run();
