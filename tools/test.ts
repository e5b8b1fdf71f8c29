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
import { type Skip, SUMMARY, verdict } from "./runner/verdict.ts";

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

/** Runs one file on one runtime, prints its line, and adds to the totals. */
async function runJob({ file, runtime }: Job): Promise<void> {
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
  const where = `${runtime.name} ${file.path}`;
  totals.passed += v.passed;
  totals.failed += failed;
  for (const skip of v.skips) skipped.push({ ...skip, where });
  const seconds = (ended.ms / 1000).toFixed(1);
  const counts = `${v.passed} passed${failed > 0 ? `, ${failed} failed` : ""}` +
    (v.skips.length > 0 ? `, ${v.skips.length} skipped` : "");
  console.log(`${failed > 0 ? "FAIL" : "ok  "} ${where}  ${counts}  ${seconds} s`);
  if (failed === 0) return;
  failures.push(where);
  console.log(indent(ended.output.trim()));
  for (const problem of v.problems) console.log(`     → ${problem}`);
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
  await pool(jobs, WIDTH, (job) => job.file.alone, runJob);
  if (skipped.length > 0) console.log("\nSkipped:");
  for (const s of skipped) console.log(`  ${s.where}: ${s.name}\n    because ${s.reason}`);
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
