// `tulle filter build`: compiles filters and says what came out of it.

import { performance } from "node:perf_hooks";
import type { Command } from "./command.ts";
import { errorText } from "../core/errors.ts";
import { createCompiler } from "./filter-compiler.ts";
import { costOf, costText } from "./filter-cost.ts";
import {
  chosenFilters,
  compileFilter,
  FILTERS_FLAG,
  filtersFolder,
  mapOf,
  writeBuild,
} from "./filter-project.ts";
import { EXIT_FAILURE } from "./failure.ts";

/** Builds the filters that are named, or all. */
export const filterBuildCommand: Command = {
  name: "build",
  summary: "Compile filters to filters/build, with size and cost",
  usage: "[NAME…] [flags]",
  operands: { min: 0, max: 100 },
  flags: [
    FILTERS_FLAG,
    { name: "--tag", value: "TEXT", summary: "Goes into the module, to tell builds apart" },
  ],
  notes: [
    "The cost is the number of instructions of each hook for one made-up request with the default\n" +
    "configuration; a hook may use 1,000,000. The module carries the lines of its source, by which\n" +
    "traps are told with file, line and column; the whole source map is beside it.",
  ],
  async run(flags, terminal) {
    const folder = filtersFolder(flags);
    const tag = flags.text("--tag");
    const compiler = createCompiler(tag === null ? {} : { build: tag });
    let failed = 0;
    for (const name of await chosenFilters(folder, flags.operands)) {
      const startedMs = performance.now();
      try {
        const built = await compileFilter(compiler, folder, name);
        const tookMs = Math.round(performance.now() - startedMs);
        const path = await writeBuild(folder, name, built);
        const cost = await costOf(built.wasm, undefined, mapOf(built, folder, name));
        terminal.out(`${path}  ${built.wasm.length} bytes in ${tookMs} ms`);
        terminal.out(`  sha256  ${built.sha256}`);
        terminal.out(`  cost    ${costText(cost)}`);
      } catch (e) {
        // the other filters are built all the same
        failed++;
        for (const line of linesOf(e)) terminal.err(line);
      }
    }
    if (failed > 0) {
      terminal.err(`tulle: ${failed} ${failed === 1 ? "filter" : "filters"} not built`);
    }
    return failed > 0 ? EXIT_FAILURE : 0;
  },
};

/** The compiler's lines stay lines. */
function linesOf(e: unknown): readonly string[] {
  return e instanceof Error ? e.message.split("\n") : [errorText(e)];
}
