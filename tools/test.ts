// `npm test`: the checks, then every test file on Node and on Deno, each in a process of its own.
// Prints one line a file, the whole output of what failed, the skips with their reasons, and last
// `N passed, N failed, N skipped`. Usage: node tools/test.ts [--check] [--node] [--deno] [WORD…]

import { mkdtempSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runChecks } from "./check/steps.ts";
import { findTests, type TestFile } from "./runner/files.ts";
import { pool } from "./runner/pool.ts";
import { killAll, run } from "./runner/process.ts";
import { denoRuntime, nodeRuntime, type Runtime } from "./runner/runtimes.ts";
import { type Skip, SUMMARY, type Verdict, verdict } from "./runner/verdict.ts";

const WIDTH = 2;
const root = fileURLToPath(new URL("..", import.meta.url));
/** Temporary folders of all test files, each its own, so that a file that was killed leaves nothing. */
const scratch = mkdtempSync(join(tmpdir(), "tulle-test-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

interface Job {
  readonly file: TestFile;
  readonly runtime: Runtime;
}

const totals = { passed: 0, failed: 0 };
const skipped: (Skip & { where: string })[] = [];
const failures: string[] = [];
/** Files that passed only when they ran again: never quiet, since each is a defect of its own. */
const unsteady: string[] = [];

/**
 * More files than this are broken, not disturbed. Up to so many run once more, alone, on a machine
 * that others share (`CI`): what fails twice has failed.
 */
const MAX_AGAIN = 3;

/** Runs one file on one runtime and prints its line; true when it passed. */
async function runJob({ file, runtime }: Job, count: (v: Verdict) => void): Promise<boolean> {
  const temporary = await mkdtemp(join(scratch, "t"));
  const ended = await run({
    command: runtime.command,
    args: [...runtime.args, file.path],
    cwd: root,
    env: { NO_COLOR: "1", FORCE_COLOR: "0", TMPDIR: temporary },
    timeoutMs: file.timeoutMs,
    doneMark: SUMMARY,
  });
  await rm(temporary, { recursive: true, force: true, maxRetries: 3 });
  const v = verdict(ended);
  const failed = v.failed + v.problems.length;
  count(v);
  const seconds = (ended.ms / 1000).toFixed(1);
  const counts = `${v.passed} passed${failed > 0 ? `, ${failed} failed` : ""}` +
    (v.skips.length > 0 ? `, ${v.skips.length} skipped` : "");
  console.log(
    `${failed > 0 ? "FAIL" : "ok  "} ${runtime.name} ${file.path}  ${counts}  ${seconds} s`,
  );
  if (failed === 0) return true;
  console.log(indent(ended.output.trim()));
  for (const problem of v.problems) console.log(`     → ${problem}`);
  return false;
}

/** Runs all files; adds to the totals what each did in the end. */
async function runJobs(jobs: readonly Job[]): Promise<void> {
  const verdicts = new Map<Job, Verdict>();
  const failed: Job[] = [];
  await pool(jobs, WIDTH, (job) => job.file.alone, async (job) => {
    if (!await runJob(job, (v) => verdicts.set(job, v))) failed.push(job);
  });
  if (process.env["CI"] === "true" && failed.length <= MAX_AGAIN) {
    for (const job of failed.splice(0)) {
      if (await runJob(job, (v) => verdicts.set(job, v))) unsteady.push(place(job));
      else failed.push(job);
    }
  }
  for (const [job, v] of verdicts) {
    totals.passed += v.passed;
    totals.failed += v.failed + v.problems.length;
    for (const skip of v.skips) skipped.push({ ...skip, where: place(job) });
  }
  failures.push(...failed.map(place));
}

function place({ file, runtime }: Job): string {
  return `${runtime.name} ${file.path}`;
}

function indent(text: string): string {
  return text.split("\n").map((line) => `     ${line}`).join("\n");
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      check: { type: "boolean" },
      node: { type: "boolean" },
      deno: { type: "boolean" },
    },
    allowPositionals: true,
  });
  const both = values.node !== true && values.deno !== true;
  const runtimes = [
    ...(values.node || both ? [nodeRuntime()] : []),
    ...(values.deno || both ? [denoRuntime(root)] : []),
  ];
  const files = await findTests(root, positionals);
  if (files.length === 0) {
    console.error(`No test file matches ${positionals.join(" ")}`);
    totals.failed++;
  }
  // Words choose test files; whoever gives some is at work on those.
  if (values.check === true && positionals.length === 0) {
    for (const step of await runChecks(root)) {
      if (step.ok) totals.passed++;
      else {
        totals.failed++;
        failures.push(`check: ${step.name}`);
      }
    }
  }
  const jobs = files.flatMap((file) => runtimes.map((runtime): Job => ({ file, runtime })));
  await runJobs(jobs);
  if (skipped.length > 0) console.log("\nSkipped:");
  for (const s of skipped) console.log(`  ${s.where}: ${s.name}\n    because ${s.reason}`);
  if (unsteady.length > 0) console.log("\nPassed only when run again, alone:");
  for (const u of unsteady) console.log(`  ${u}`);
  if (failures.length > 0) console.log("\nFailed:");
  for (const f of failures) console.log(`  ${f}`);
  console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${skipped.length} skipped`);
  process.exitCode = totals.failed > 0 ? 1 : 0;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    killAll();
    process.exit(1);
  });
}
await main().catch((e: unknown) => {
  console.error(e instanceof Error ? e.message : e);
  killAll();
  process.exitCode = 1;
});
