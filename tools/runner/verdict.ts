// What the output of a test file says: counts, skips, and why the file as a whole is not right.
// Pure; the one place that knows uvu's summary and the skip lines of `test/support/skip.ts`.

import type { Ended } from "./process.ts";

/** A test that was not run, and why. */
export interface Skip {
  readonly name: string;
  readonly reason: string;
}

/** The result of one file on one runtime. */
export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  readonly skips: readonly Skip[];
  /** Why the file failed beside its failing tests, as sentences; each counts as one failure. */
  readonly problems: readonly string[];
}

/** uvu's last lines. Also the mark after which a file should end. */
export const SUMMARY = / {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)\n/;

const SKIP_LINE = /^tulle-skip (\{.*\})$/gm;

/** Reads one file's result. Whatever is not understood is a failure, never a pass. */
export function verdict(ended: Ended): Verdict {
  const problems: string[] = [];
  const skips: Skip[] = [];
  for (const [, json] of ended.output.matchAll(SKIP_LINE)) {
    const skip = parseSkip(json ?? "");
    if (skip === null) problems.push(`A skip line is not readable: ${json}`);
    else skips.push(skip);
  }
  let total = 0;
  let passed = 0;
  let unnamed = 0;
  let suites = 0;
  for (const m of ended.output.matchAll(new RegExp(SUMMARY, "g"))) {
    suites++;
    total += Number(m[1]);
    passed += Number(m[2]);
    unnamed += Number(m[3]);
  }
  // uvu exits with 0 when a `before` hook throws; what did not pass has failed.
  const failed = total - passed;
  if (ended.killed === "time") {
    problems.push(`Did not end within ${Math.round(ended.ms / 1000)} s`);
  } else if (ended.killed === "stays") {
    problems.push("Did not end after its summary: a server, socket, timer or child is left open");
  } else if (ended.signal !== null) {
    problems.push(`Ended by ${ended.signal}`);
  } else if (ended.code !== 0 && failed === 0) {
    problems.push(`Exit status ${ended.code} with no failing test`);
  }
  if (unnamed > 0) {
    problems.push(`${unnamed} skipped without a reason: use skip() of test/support/skip.ts`);
  }
  if (total === 0 && skips.length === 0 && problems.length === 0) {
    problems.push(
      suites === 0 ? "No suite ran: is test.run() missing?" : "A suite without tests ran",
    );
  }
  return { passed, failed, skips, problems };
}

function parseSkip(json: string): Skip | null {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value !== "object" || value === null) return null;
    const { name, reason } = value as Record<string, unknown>;
    if (typeof name !== "string" || typeof reason !== "string") return null;
    return reason.trim() === "" ? null : { name, reason };
  } catch {
    return null;
  }
}
