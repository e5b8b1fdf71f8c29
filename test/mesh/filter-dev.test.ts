// `tulle filter dev`: a whole mesh with a filter that somebody works on.

import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { tempDir } from "../support/temp-dir.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const isDeno = process.versions.deno !== undefined;

/** `tulle …` in `cwd`, on the runtime of this test. */
function tulle(cwd: string, ...args: string[]) {
  const runtime = isDeno ? ["run", "-A", "--quiet"] : [];
  const child = spawn(process.execPath, [...runtime, MAIN, ...args], {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const text = { said: "" };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part: string) => text.said += part);
  }
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  /** Waits for a line. */
  const says = async (pattern: RegExp): Promise<RegExpExecArray> => {
    const lateMs = performance.now() + 30_000;
    while (performance.now() < lateMs) {
      const found = pattern.exec(text.said);
      if (found !== null) return found;
      await new Promise((again) => setTimeout(again, 20));
    }
    throw new Error(`It did not say ${pattern}: ${text.said}`);
  };
  return { child, exited, says, text };
}

test("a saved filter serves soon after, and one that traps is told with its line", async () => {
  await using dir = await tempDir("filter-dev");
  assert.is(await tulle(dir.path, "filter", "new", "gate").exited, 0);
  const net = isDeno ? "127.105" : "127.104";
  const dev = tulle(
    dir.path,
    ...["filter", "dev", "gate", "--net", net, "--admin", "127.0.0.1:0", "--duration", "60s"],
  );
  try {
    await dev.says(/gate runs in front of catalogue/);
    await dev.says(/watching .*: gate/);
    const path = dir.join("filters/gate/assembly/index.ts");
    const source = await readFile(path, "utf8");
    await writeFile(path, source.replace("403", "401"));
    const [, ms] = await dev.says(/gate: serving (\d+) ms after it was saved/);
    // about half a second on a machine that does nothing else
    assert.ok(Number(ms) < 5_000, `${ms} ms`);
    await dev.says(/gate: swapped to [0-9a-f]{8}/);
    await writeFile(path, source.replace("  denied.inc();", "  denied.inc();\n  unreachable();"));
    await dev.says(
      /the build before [0-9a-f]{8} goes on serving: .*unreachable.* at filters\/gate\/assembly\/index\.ts:11:3/,
    );
    await writeFile(path, source.replace("denied.inc", "denied.nope"));
    await dev.says(/goes on serving: filters\/gate\/assembly\/index\.ts:10:\d+: /);
  } finally {
    process.kill(dev.child.pid ?? 0, "SIGTERM");
    assert.is(await dev.exited, 0, dev.text.said);
  }
});

test.run();
