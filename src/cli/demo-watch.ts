// `tulle demo --watch`: compiles a filter when its source changes and rolls the new build out. What
// does not compile, is refused, or traps leaves the old build serving and says why in one line.

import { watch } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { errorText } from "../core/errors.ts";
import type { CompiledFilter, FilterCompiler } from "../core/filter.ts";
import { withPositions } from "../../wasm/host/source-map.ts";
import type { SwapOutcome } from "./demo-report.ts";
import type { Screen } from "./demo-screen.ts";
import { swap, type SwapMesh } from "./demo-rollout.ts";
import { aborted } from "./demo-time.ts";
import { PACKAGE_ROOT } from "./entries.ts";
import { createCompiler } from "./filter-compiler.ts";
import { filterNames, mapOf } from "./filter-project.ts";

/** An editor writes a file in several steps. */
const QUIET_MS = 120;

/** What watching needs; handed in, so that a test can compile and swap in its own way. */
export interface WatchOptions {
  readonly mesh: SwapMesh;
  readonly screen: Screen;
  readonly stop: AbortSignal;
  /** Names of filters that were edited are added: the demo's own swaps leave them alone. */
  readonly edited: Set<string>;
  done(outcome: SwapOutcome): void;
  /** Folder with one folder a filter. */
  readonly folder?: string;
  /** Only these filters; all of the folder when absent. */
  readonly names?: readonly string[];
  /** Requests that fail are a filter's own doing. */
  readonly mayRefuse?: boolean;
  /** Told of each build that compiled, before it is rolled out. */
  built?(name: string, built: CompiledFilter): void;
  readonly compiler?: FilterCompiler;
}

/** Watches until `stop`. */
export async function watchFilters(options: WatchOptions): Promise<void> {
  const { screen, stop } = options;
  const folder = options.folder ?? join(PACKAGE_ROOT, "filters");
  const compiler = options.compiler ?? createCompiler();
  let working: Promise<void> = Promise.resolve();
  const watchers = [];
  const names = options.names ?? await filterNames(folder);
  for (const name of names) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let savedMs = 0;
    const watcher = watch(join(folder, name, "assembly"), { recursive: true }, () => {
      clearTimeout(timer);
      // the last of an editor's writes is the one that counts
      savedMs = performance.now();
      timer = setTimeout(() => {
        // one after the other: the compiler is heavy, and two swaps at once could not be told apart
        working = working.then(() =>
          stop.aborted ? undefined : rebuild(name, folder, compiler, options, savedMs)
        );
      }, QUIET_MS);
    });
    watcher.on("error", (e) => screen.alarm(`${name}: its folder is not watched: ${errorText(e)}`));
    watchers.push(() => {
      clearTimeout(timer);
      watcher.close();
    });
  }
  screen.message(
    names.length === 0
      ? `nothing to watch: ${folder} has no folder with assembly/index.ts`
      : `watching ${join(folder, "*", "assembly")}: ${names.join(", ")}`,
  );
  await aborted(stop);
  for (const close of watchers) close();
  await working;
}

async function rebuild(
  name: string,
  folder: string,
  compiler: FilterCompiler,
  options: WatchOptions,
  savedMs: number,
): Promise<void> {
  const { mesh, screen, stop, edited, done } = options;
  const started = performance.now();
  try {
    const built = await compiler.compile(join(folder, name, "assembly", "index.ts"));
    if ("errors" in built) {
      const [first = "the compiler did not say why", ...more] = built.errors;
      const rest = more.length === 0 ? "" : ` (and ${more.length} more)`;
      screen.alarm(`${name}: the build before goes on serving: ${here(first)}${rest}`);
      return;
    }
    edited.add(name);
    screen.message(`${name}: compiled in ${Math.round(performance.now() - started)} ms`);
    options.built?.(name, built);
    const map = mapOf(built, folder, name);
    const outcome = await swap(mesh, screen, name, built, stop, {
      mayRefuse: options.mayRefuse === true,
      explain: (reason) => map === null ? reason : here(withPositions(reason, map)),
      taken: () => {
        const sinceMs = Math.round(performance.now() - savedMs);
        screen.message(`${name}: serving ${sinceMs} ms after it was saved`);
      },
    });
    // a build that was refused broke no promise, unless requests failed of it
    if (outcome !== null && (outcome.done || outcome.failed > 0)) done(outcome);
  } catch (e) {
    screen.alarm(`${name}: the build before goes on serving: ${errorText(e)}`);
  }
}

/** Paths as somebody sees them who started the demo here. */
function here(text: string): string {
  return text.replace(process.cwd() + "/", "");
}
