import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Ended } from "../../tools/runner/process.ts";
import { verdict } from "../../tools/runner/verdict.ts";

const summary = (total: number, passed: number, skipped = 0) =>
  `\n  Total:     ${total}\n  Passed:    ${passed}\n  Skipped:   ${skipped}\n  Duration:  1.00ms\n\n`;

function of(output: string, how: Partial<Ended> = {}) {
  return verdict({ output, code: 0, signal: null, killed: null, ms: 1000, ...how });
}

test("a file whose tests pass passes", () => {
  assert.equal(of(`• • •   (3 / 3)\n${summary(3, 3)}`), {
    passed: 3,
    failed: 0,
    skips: [],
    problems: [],
  });
});

test("a failing test is counted once, not again for the exit status", () => {
  const v = of(summary(3, 2), { code: 1 });
  assert.is(v.failed, 1);
  assert.equal(v.problems, []);
});

test("what did not pass has failed, also when the file exits with 0", () => {
  assert.is(of(summary(3, 0)).failed, 3, "uvu after a before hook that throws");
});

test("a file in which no suite ran fails", () => {
  assert.match(of("hello\n").problems[0] ?? "", "No suite ran");
  assert.match(of(summary(0, 0)).problems[0] ?? "", "without tests");
});

test("an exit status without a failing test is a problem", () => {
  assert.match(of(summary(2, 2), { code: 1 }).problems[0] ?? "", "Exit status 1");
  assert.match(of("", { code: 3 }).problems[0] ?? "", "Exit status 3");
  assert.match(of(summary(2, 2), { code: null, signal: "SIGSEGV" }).problems[0] ?? "", "SIGSEGV");
});

test("a file over its time, or one that stays, fails although its tests passed", () => {
  const killed = { code: null, signal: "SIGKILL" };
  assert.match(of("", { ...killed, killed: "time" }).problems[0] ?? "", "within 1 s");
  const stays = of(summary(2, 2), { ...killed, killed: "stays" });
  assert.is(stays.passed, 2);
  assert.match(stays.problems[0] ?? "", "left open");
});

test("a skip carries its reason, and may be all that a file has", () => {
  const v = of('tulle-skip {"name":"haproxy answers","reason":"haproxy is not installed"}\n');
  assert.equal(v.skips, [{ name: "haproxy answers", reason: "haproxy is not installed" }]);
  assert.equal(v.problems, []);
});

test("a skip without a reason fails", () => {
  assert.match(of(summary(2, 2, 1)).problems[0] ?? "", "without a reason");
  assert.is(of('tulle-skip {"name":"x","reason":" "}\n').problems.length, 1);
  assert.is(of("tulle-skip {broken}\n").problems.length, 1);
});

test.run();
