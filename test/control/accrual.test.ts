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
    [P]: "unified",
    [`${P}-consecutive-max-failures`]: "3",
    [`${P}-consecutive-min-penalty`]: "500ms",
    [`${P}-consecutive-max-penalty`]: "1m",
    [`${P}-consecutive-jitter-ratio`]: "0.25",
  });
  assert.equal(set, { maxFailures: 3, minBackoffMs: 500, maxBackoffMs: 60_000, jitter: 0.25 });
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
