// The steps of `npm run check`, in order of how soon they say something: format, lint, the rules of
// the tree, types on both checkers. Used by tools/check.ts and, before the tests, by tools/test.ts.

import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../runner/process.ts";
import { denoPath, NODE_FLAGS } from "../runner/runtimes.ts";
import { formatFinding } from "./findings.ts";
import { fileLength, noCycles, type Tree } from "./tree-rules.ts";

/** One step's result. */
export interface Step {
  readonly name: string;
  readonly ok: boolean;
}

/** Folders and files that are type-checked, as in tsconfig.json. */
const TYPED = ["src", "wasm/host", "wasm/abi.ts", "demo", "test", "bench", "tools"];
/** Folders of the tree rules. */
const RULED = ["src", "wasm", "demo", "bench", "tools", "test", "filters"];
const GENERATED = ["src/api/gen/", "filters/build/"];

/** Runs all steps, prints each with its time and what it found, and says which passed. */
export async function runChecks(root: string): Promise<Step[]> {
  const deno = denoPath(root);
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const typed = TYPED.filter((path) => existsSync(join(root, path)));
  const quiet = { NO_COLOR: "1", RUST_BACKTRACE: "0" };
  const command = (command: string, args: string[], timeoutMs: number) => async () => {
    const ended = await run({ command, args, cwd: root, env: quiet, timeoutMs });
    const over = ended.killed === null ? "" : `\nDid not end within ${timeoutMs / 1000} s\n`;
    return { ok: ended.code === 0, output: ended.output + over };
  };
  const steps: [string, string, () => Promise<{ ok: boolean; output: string }>][] = [
    ["format", "run npm run fmt", command(deno, ["fmt", "--check"], 60_000)],
    ["lint", "rules: deno.json and tools/check/", command(deno, ["lint"], 60_000)],
    ["tree", "no cycles, no long files: tools/check/tree-rules.ts", () => treeStep(root)],
    ["tsc", "types, Node", command(process.execPath, [...NODE_FLAGS, tsc, "-p", "."], 120_000)],
    ["deno check", "types, Deno", command(deno, ["check", "--quiet", ...typed], 180_000)],
  ];
  const results: Step[] = [];
  for (const [name, hint, step] of steps) {
    const startedMs = performance.now();
    const { ok, output } = await step();
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    console.log(`${ok ? "ok  " : "FAIL"} check: ${name}  ${seconds} s`);
    if (!ok) console.log(`${output.trim()}\n     → ${hint}`);
    results.push({ name, ok });
  }
  return results;
}

async function treeStep(root: string): Promise<{ ok: boolean; output: string }> {
  const tree = await readTree(root);
  const findings = [...noCycles(tree), ...fileLength(tree)];
  return { ok: findings.length === 0, output: findings.map(formatFinding).join("\n") };
}

/** Every TypeScript file that people write. */
export async function readTree(root: string): Promise<Tree> {
  const tree = new Map<string, string>();
  const walk = async (folder: string): Promise<void> => {
    const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const path = `${folder}/${entry.name}`;
      if (entry.name === "node_modules" || GENERATED.some((g) => `${path}/`.startsWith(g))) {
        continue;
      }
      if (entry.isDirectory()) await walk(path);
      else if (path.endsWith(".ts")) tree.set(path, await readFile(join(root, path), "utf8"));
    }
  };
  for (const folder of RULED) await walk(folder);
  return tree;
}
