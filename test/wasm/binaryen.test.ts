// Modules that Debian's binaryen makes of random bytes, valid by construction and stranger than what
// anybody writes: each runs as it came and rewritten, side by side, and must do the same.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FilterRefused } from "../../src/core/filter.ts";
import { HOOK_EXPORTS } from "../../wasm/abi.ts";
import { type Export, type ParsedModule, parseModule } from "../../wasm/host/parse.ts";
import { MEMORY_EXPORT, rewriteModule, START_EXPORT } from "../../wasm/host/rewrite.ts";
import { fuzzSeed, type Random, seeded } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { tempDir } from "../support/temp-dir.ts";

const MODULES = 120;
/** More than a generated function runs; what is compared is not the fuel. */
const BOUNDS = { fuelPerHook: 1_000_000_000, fuelToStart: 1_000_000_000, memoryPages: 65_536 };
/** Names under which the rewriter keeps exported functions. */
const HOOKS = Object.values(HOOK_EXPORTS);

const ALLOWED = [
  "sign-ext",
  "mutable-globals",
  "nontrapping-float-to-int",
  "bulk-memory",
  "tail-call",
  "multivalue",
  "simd",
];
const REFUSED: Readonly<Record<string, RegExp>> = {
  "threads": /uses (shared memory|atomics|threads)/,
  "exception-handling": /uses exceptions/,
  "gc": /uses (garbage-collected types|typed (function )?references)/,
};

/** Debian's, by its path: npm puts another one, which the compiler brings, first in PATH. */
const WASM_OPT = "/usr/bin/wasm-opt";
const missing = existsSync(WASM_OPT) ? null : "binaryen is not installed (tools/setup-debian)";

/** A module of these features, or null when this binaryen makes none of these bytes. */
function generate(random: Random, folder: string, features: readonly string[]): Uint8Array | null {
  const from = `${folder}/in.bin`;
  const to = `${folder}/out.wasm`;
  writeFileSync(from, random.bytes(random.int(200, 6000)));
  const flags = ["-ttf", "--denan", ...features.map((f) => `--enable-${f}`)];
  const { status } = spawnSync(WASM_OPT, [from, ...flags, "-o", to], { timeout: 60_000 });
  return status === 0 ? new Uint8Array(readFileSync(to)) : null;
}

/** The module with its first exported functions under the names of hooks, which the rewriter keeps. */
function asHooks(module: ParsedModule): { module: ParsedModule; hooks: readonly Export[] } {
  const functions = module.exports.filter((e) => e.kind === 0).slice(0, HOOKS.length);
  const hooks = functions.map((e, i) => ({ ...e, name: HOOKS[i] as string }));
  return { module: { ...module, exports: hooks }, hooks: functions };
}

type Call = (...args: unknown[]) => unknown;
interface Running {
  readonly start: (() => unknown) | null;
  readonly calls: readonly Call[];
  readonly memory: WebAssembly.Memory | null;
  /** What the module said to its host, in order. */
  readonly said: unknown[];
}

/** Runs `bytes`; its imports, whatever they are, note how they were called. */
function run(bytes: Uint8Array, module: ParsedModule, names: readonly string[]): Running {
  const said: unknown[] = [];
  const imports: Record<string, Record<string, Call>> = {};
  for (const { kind, module: from, name } of module.imports) {
    if (kind !== "func") throw new Error(`this import is not expected: ${from} ${name}`);
    (imports[from] ??= {})[name] = (...args) => void said.push([name, ...args.map(String)]);
  }
  const compiled = new WebAssembly.Module(new Uint8Array(bytes));
  const { exports } = new WebAssembly.Instance(compiled, imports as WebAssembly.Imports);
  const memory = exports[MEMORY_EXPORT] ?? exports["memory"];
  return {
    start: (exports[START_EXPORT] as (() => unknown) | undefined) ?? null,
    calls: names.map((name) => exports[name] as Call),
    memory: memory instanceof WebAssembly.Memory ? memory : null,
    said,
  };
}

/** An argument of this value type; the interesting ones often. */
function argument(random: Random, type: number): unknown {
  const n = random.pick([0, 1, -1, 2 ** 31 - 1, -(2 ** 31), random.int(-1000, 1000)]);
  return type === 0x7e ? BigInt(n) : type === 0x7f ? n : random.pick([n, n / 3, 1e30]);
}

/** What a call gave, or why it trapped. */
function outcomeOf(call: () => unknown): string {
  try {
    return String(call());
  } catch (e) {
    if (e instanceof RangeError) return "the stack is exhausted";
    if (e instanceof WebAssembly.RuntimeError) return `trap: ${e.message}`;
    return `not called: ${(e as Error).message}`; // a vector cannot cross
  }
}

const sameBytes = (a: WebAssembly.Memory | null, b: WebAssembly.Memory | null) =>
  Buffer.compare(
    new Uint8Array(a?.buffer ?? new ArrayBuffer(0)),
    new Uint8Array(b?.buffer ?? new ArrayBuffer(0)),
  ) === 0;

testUnless(
  missing,
  test,
  "modules that binaryen makes behave after rewriting as before",
  async () => {
    await using dir = await tempDir("binaryen");
    const seed = fuzzSeed("binaryen");
    const random = seeded(seed);
    let modules = 0;
    let compared = 0;
    let trapped = 0;
    for (let round = 0; round < MODULES; round++) {
      const where = `seed ${seed}, round ${round}`;
      const bytes = generate(random, dir.path, ALLOWED.filter(() => random() < 0.8));
      // this binaryen writes a few that the engine does not take either: nothing to compare
      if (bytes === null || !WebAssembly.validate(new Uint8Array(bytes))) continue;
      const { module, hooks } = asHooks(parseModule(bytes));
      const before = run(bytes, module, hooks.map((e) => e.name));
      const after = run(
        rewriteModule(module, BOUNDS),
        module,
        hooks.map((_, i) => HOOKS[i] as string),
      );
      if (after.start !== null) outcomeOf(after.start);
      modules++;
      for (let turn = 0; turn < 2; turn++) {
        hooks.forEach((hook, i) => {
          const type = module.types[module.functions[hook.index] as number];
          const args = (type?.params ?? []).map((t) => argument(random, t));
          const [was, is] = [before, after].map((r) => outcomeOf(() => r.calls[i]?.(...args)));
          assert.is(is, was, `${where}: ${hook.name}(${args.join(", ")})`);
          if (was?.startsWith("trap")) trapped++;
          compared++;
        });
      }
      assert.equal(after.said, before.said, `${where}: calls of the host`);
      assert.ok(sameBytes(before.memory, after.memory), `${where}: memory`);
    }
    console.log(`binaryen: ${modules} modules, ${compared} calls, of which ${trapped} trapped`);
    assert.ok(compared > MODULES, `${compared} calls were compared`);
    assert.ok(trapped > 0, "some of them trap");
  },
);

for (const [feature, reason] of Object.entries(REFUSED)) {
  testUnless(missing, test, `modules that use ${feature} are refused by that name`, async () => {
    await using dir = await tempDir("binaryen");
    const seed = fuzzSeed(`binaryen ${feature}`);
    const random = seeded(seed);
    let refused = 0;
    for (let round = 0; round < 30 && refused < 5; round++) {
      const features = feature === "gc"
        ? ["reference-types", "typed-function-references", "gc"]
        : [feature];
      const bytes = generate(random, dir.path, features);
      if (bytes === null) continue;
      try {
        const parsed = parseModule(bytes);
        rewriteModule(parsed, BOUNDS); // instructions are read here; most modules use none of them
      } catch (e) {
        assert.instance(e, FilterRefused, `seed ${seed}, round ${round}: ${(e as Error).stack}`);
        assert.match(
          (e as Error).message,
          reason,
          `seed ${seed}, round ${round}: ${(e as Error).message}`,
        );
        refused++;
      }
    }
    assert.ok(refused > 0, `seed ${seed}: none of them was refused`);
  });
}

test.run();
