import { readFile, writeFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { findTests, testFile } from "../../tools/runner/files.ts";
import { pool } from "../../tools/runner/pool.ts";
import { run } from "../../tools/runner/process.ts";
import { tempDir } from "../support/temp-dir.ts";

const shell = (script: string, more: { timeoutMs?: number; doneMark?: RegExp } = {}) =>
  run({
    command: "/bin/sh",
    args: ["-c", script],
    cwd: "/",
    timeoutMs: 20_000,
    graceMs: 100,
    ...more,
  });

/** Whether a process runs; one that ended and was not waited for yet does not. */
async function runs(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  return stat !== null && !/^\d+ \(.*\) [ZX]/.test(stat);
}

test("run() gives output of both streams and the exit status", async () => {
  const ended = await shell("echo out; echo err >&2; exit 3");
  assert.match(ended.output, "out\n");
  assert.match(ended.output, "err\n");
  assert.is(ended.code, 3);
  assert.is(ended.killed, null);
});

test("run() ends a command over its time, with all its children", async () => {
  await using dir = await tempDir("runner");
  const pidFile = dir.join("pid");
  const ended = await shell(`sleep 30 & echo $! > ${pidFile}; wait`, { timeoutMs: 300 });
  assert.is(ended.killed, "time");
  if (process.platform !== "linux") return;
  const pid = Number(await readFile(pidFile, "utf8"));
  for (let i = 0; i < 100 && await runs(pid); i++) await new Promise((r) => setTimeout(r, 20));
  assert.not(await runs(pid));
});

test("run() ends a command that is done and stays", async () => {
  const ended = await shell("echo DONE; sleep 30", { doneMark: /DONE/ });
  assert.is(ended.killed, "stays");
});

test("run() does not wait for a child that outlives the command and holds its output", async () => {
  const ended = await shell("sleep 30 & echo first");
  assert.is(ended.code, 0);
  assert.match(ended.output, "first");
  assert.ok(ended.ms < 15_000, `${ended.ms} ms`);
});

test("run() says what cannot be started", async () => {
  const ended = await run({ command: "/nowhere/x", args: [], cwd: "/", timeoutMs: 1000 });
  assert.is(ended.code, 127);
  assert.match(ended.output, "/nowhere/x");
});

test("run() bounds what it keeps of an endless output", async () => {
  const ended = await shell("yes 0123456789 | head -c 3000000");
  assert.ok(ended.output.length < 500_000, `${ended.output.length} characters`);
  assert.match(ended.output, "left out");
});

test("pool() keeps its width and leaves alone what must be alone", async () => {
  const log: string[] = [];
  let busy = 0;
  let most = 0;
  await pool(["a", "lone", "b", "c"], 2, (x) => x === "lone", async (x) => {
    busy++;
    most = Math.max(most, busy);
    if (x === "lone") assert.is(busy, 1);
    await new Promise((r) => setImmediate(r));
    log.push(x);
    busy--;
  });
  assert.is(most, 2);
  assert.equal(log.at(-1), "lone");
  assert.is(log.length, 4);
});

test("findTests() takes what ends in .test.ts and contains a word", async () => {
  await using dir = await tempDir("find");
  const { mkdir } = await import("node:fs/promises");
  await mkdir(dir.join("test/core"), { recursive: true });
  await mkdir(dir.join("test/mesh"), { recursive: true });
  await mkdir(dir.join("test/kubernetes"), { recursive: true });
  for (
    const f of [
      "core/b.test.ts",
      "core/a.test.ts",
      "core/helper.ts",
      "mesh/a.test.ts",
      "kubernetes/a.test.ts",
    ]
  ) {
    await writeFile(dir.join("test", f), "");
  }
  const paths = async (...words: string[]) => (await findTests(dir.path, words)).map((f) => f.path);
  assert.equal(await paths(), [
    "test/core/a.test.ts",
    "test/core/b.test.ts",
    "test/mesh/a.test.ts",
  ]);
  assert.equal(await paths("core/b"), ["test/core/b.test.ts"]);
  assert.equal(await paths("nothing"), []);
  // It has a task of its own.
  assert.equal(await paths("test/kubernetes/"), ["test/kubernetes/a.test.ts"]);
});

test("testFile() gives mesh tests more time and no neighbour", () => {
  assert.is(testFile("test/mesh/swap.test.ts").alone, true);
  assert.is(testFile("test/mesh/swap.test.ts").timeoutMs, 180_000);
  assert.is(testFile("test/core/addr.test.ts").timeoutMs, 60_000);
});

test.run();
