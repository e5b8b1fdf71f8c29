import { test } from "uvu";
import * as assert from "uvu/assert";
import { failureSchedule } from "../../demo/services/schedule.ts";

const take = (fails: () => boolean, n: number) => Array.from({ length: n }, fails);

test("failureSchedule() fails exactly the share that it is told", () => {
  const failed = take(failureSchedule(5, 77), 2_000).filter((f) => f).length;
  assert.is(failed, 100);
});

test("failureSchedule() is the same for the same seed, and another for another", () => {
  assert.equal(take(failureSchedule(5, 1), 200), take(failureSchedule(5, 1), 200));
  assert.not.equal(take(failureSchedule(5, 1), 200), take(failureSchedule(5, 2), 200));
});

test("failureSchedule() leaves half a block between two failures, so that asking again helps", () => {
  for (let seed = 0; seed < 50; seed++) {
    let since = Infinity;
    for (const failed of take(failureSchedule(5, seed), 1_000)) {
      since++;
      if (!failed) continue;
      assert.ok(since > 10, `seed ${seed}: ${since} requests between failures`);
      since = 0;
    }
  }
});

test("failureSchedule() of 0 % never fails", () => {
  assert.not.ok(take(failureSchedule(0, 1), 500).includes(true));
});

test.run();
