// `npm run fuzz`: the fuzz tests of `npm test`, again and again with a new seed each time, until one
// fails, the time is over or Ctrl-C. A failure is printed whole, with the command that shows it again.

import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { killAll, run } from "./runner/process.ts";
import { denoRuntime, nodeRuntime, type Runtime } from "./runner/runtimes.ts";
import { SUMMARY, verdict } from "./runner/verdict.ts";

/** What is fuzzed, by name. */
const TARGETS: Readonly<Record<string, string>> = {
  "http1": "test/proxy/http1/fuzz.test.ts",
  "http2": "test/proxy/http2/fuzz.test.ts",
  "hpack": "test/proxy/http2/hpack.test.ts",
  "heads": "test/proxy/http2/transcode.test.ts",
  "detection": "test/proxy/tcp/fuzz.test.ts", // and ClientHello
  "transport-header": "test/api/transport-header.test.ts",
  "wasm": "test/wasm/rewrite.test.ts",
};

const USAGE = `Usage: npm run fuzz -- [flags]
  --target NAME   only this one; may be given again: ${Object.keys(TARGETS).join(", ")}
  --duration N    end after N seconds (until Ctrl-C)
  --seed N        one round with this seed
  --deno          under Deno instead of Node`;

const TIMEOUT_MS = 300_000;
const root = fileURLToPath(new URL("..", import.meta.url));

/** One target with one seed; whether it passed. */
async function round(runtime: Runtime, target: string, seed: number): Promise<boolean> {
  const file = TARGETS[target] as string;
  const ended = await run({
    command: runtime.command,
    args: [...runtime.args, file],
    cwd: root,
    env: { NO_COLOR: "1", FORCE_COLOR: "0", TULLE_TEST_SEED: String(seed) },
    timeoutMs: TIMEOUT_MS,
    doneMark: SUMMARY,
  });
  const v = verdict(ended);
  if (v.failed + v.problems.length === 0) return true;
  console.log(ended.output.trim());
  for (const problem of v.problems) console.log(`→ ${problem}`);
  const deno = runtime.name === "deno" ? " --deno" : "";
  console.log(`\nAgain: npm run fuzz -- --target ${target} --seed ${seed}${deno}`);
  return false;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      target: { type: "string", multiple: true },
      duration: { type: "string" },
      seed: { type: "string" },
      deno: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const targets = values.target ?? Object.keys(TARGETS);
  const unknown = targets.find((name) => !(name in TARGETS));
  if (unknown !== undefined) {
    console.error(`fuzz: no target ${unknown}; there are ${Object.keys(TARGETS).join(", ")}`);
    return 2;
  }
  const number = (flag: string, text: string | undefined, what: string): number | null => {
    if (text === undefined) return null;
    if (!/^[0-9]{1,10}$/.test(text)) throw new Error(`${flag} is ${what}, not ${text}`);
    return Number(text);
  };
  const seconds = number("--duration", values.duration, "a whole number of seconds");
  const seed = number("--seed", values.seed, "a number as a run prints it");
  const runtime = values.deno === true ? denoRuntime(root) : nodeRuntime();
  const until = seconds === null ? Infinity : performance.now() + seconds * 1000;
  let rounds = 0;
  do {
    const one = seed ?? Math.floor(Math.random() * 2 ** 32);
    for (const target of targets) {
      if (!await round(runtime, target, one)) return 1;
    }
    rounds++;
    console.log(`round ${rounds}: seed ${one}, ${targets.join(", ")}: passed`);
  } while (seed === null && performance.now() < until);
  return 0;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    killAll();
    process.exit(130);
  });
}

try {
  process.exitCode = await main();
} catch (e) {
  console.error(`fuzz: ${(e as Error).message}`);
  process.exitCode = 2;
}
