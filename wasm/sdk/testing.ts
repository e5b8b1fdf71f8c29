// `tulle/testing`: what a filter's test imports. Compiles or reads the filter, loads it as a proxy
// would, and hands it over with its hooks as methods; the test runner is uvu, handed on so that a
// filter's folder needs no package of its own. For tests only.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { createCompiler } from "../../src/cli/filter-compiler.ts";
import type { CompiledFilter } from "../../src/core/filter.ts";
import { SourceMap } from "../host/source-map.ts";
import { TestFilter } from "./testing-filter.ts";
import type { TestOptions } from "./testing-results.ts";

export { suite, test } from "uvu";
export { assert };

const compiled = new Map<string, Promise<CompiledFilter>>();
const loaded: { readonly name: string; readonly filter: TestFilter }[] = [];

/**
 * Loads the filter whose source is in `path`/assembly/index.ts, or the module `path`. A folder's
 * source is compiled once for all tests of a process. Rejects with the compiler's lines, or with the
 * reason for which a proxy would refuse the module or its configuration.
 */
export async function loadFilter(
  path: string | URL,
  options: TestOptions = {},
): Promise<TestFilter> {
  const at = resolve(path instanceof URL ? fileURLToPath(path) : path);
  const { module, map } = at.endsWith(".wasm") ? await readModule(at) : await compile(at);
  const filter = await TestFilter.open(module, options, map);
  loaded.push({ name: relative(process.cwd(), at), filter });
  return filter;
}

async function compile(folder: string): Promise<{ module: Uint8Array; map: SourceMap | null }> {
  const entry = relative(process.cwd(), join(folder, "assembly", "index.ts"));
  if (!existsSync(entry)) throw new Error(`${entry} does not exist: is this a filter's folder?`);
  let building = compiled.get(folder);
  if (building === undefined) compiled.set(folder, building = build(entry));
  const { wasm, sourceMap } = await building;
  return {
    module: wasm,
    map: sourceMap === undefined
      ? null
      : SourceMap.parse(sourceMap, (source) => join(dirname(entry), source)),
  };
}

async function build(entry: string): Promise<CompiledFilter> {
  const built = await createCompiler().compile(entry);
  if ("errors" in built) throw new Error(built.errors.join("\n"));
  return built;
}

async function readModule(path: string): Promise<{ module: Uint8Array; map: SourceMap | null }> {
  const module = new Uint8Array(await readFile(path));
  const text = await readFile(path + ".map", "utf8").catch(() => null);
  const place = (source: string) => relative(process.cwd(), join(dirname(path), source));
  return { module, map: text === null ? null : SourceMap.parse(text, place) };
}

// `tulle filter test` asks for the figures of all hooks that ran
if (process.env["TULLE_FUEL_REPORT"] === "1") {
  process.on("exit", () => {
    const most = new Map<string, { calls: number; most: number; budget: number }>();
    for (const { name, filter } of loaded) {
      for (const { hook, calls, most: used, budget } of filter.fuelReport()) {
        const known = most.get(`${name} ${hook}`);
        most.set(`${name} ${hook}`, {
          calls: calls + (known?.calls ?? 0),
          most: Math.max(used, known?.most ?? 0),
          budget,
        });
      }
    }
    for (const [what, { calls, most: used, budget }] of most) {
      console.log(`  fuel: ${what} ${used} of ${budget} at most, ${calls} calls`);
    }
  });
}
