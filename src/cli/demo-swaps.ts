// When the demo replaces filters by itself, and which: early and now and then, there and back.

import { errorText } from "../core/errors.ts";
import type { SwapOutcome } from "./demo-report.ts";
import { type Build, swap, type SwapMesh } from "./demo-rollout.ts";
import { fetchText } from "./demo-scrape.ts";
import type { Screen } from "./demo-screen.ts";
import { until } from "./demo-time.ts";

/** A filter of the control plane's list, as far as it is needed here. */
interface ListedFilter {
  readonly name: string;
  readonly served: { readonly sha256: string } | null;
  readonly builds: readonly { readonly sha256: string }[];
}

/** What may be swapped, and what it is swapped with. */
export interface SwapChoice {
  /** Filters that somebody works on: they are left alone. */
  readonly leave: ReadonlySet<string>;
  /** Builds that the control plane has not heard of yet, by filter. */
  readonly spares: ReadonlyMap<string, Build>;
}

/** The filter that has another build to change to, and that build; null when none has. */
export async function swappable(
  adminUrl: string,
  choice: SwapChoice,
): Promise<{ filter: string; build: Build } | null> {
  const list = JSON.parse(await fetchText(`${adminUrl}/api/filters`)) as {
    filters?: readonly ListedFilter[];
  };
  for (const { name, served, builds } of list.filters ?? []) {
    if (served === null || choice.leave.has(name)) continue;
    const known = builds.find((build) => build.sha256 !== served.sha256);
    const spare = choice.spares.get(name);
    if (known !== undefined) return { filter: name, build: { sha256: known.sha256 } };
    if (spare !== undefined && spare.sha256 !== served.sha256) {
      return { filter: name, build: spare };
    }
  }
  return null;
}

/** When the demo swaps by itself: twice within a given duration, else early and then now and then. */
export function swapTimes(durationMs: number | null): { firstMs: number; everyMs: number } {
  if (durationMs === null) return { firstMs: 4_000, everyMs: 20_000 };
  return { firstMs: durationMs * 0.25, everyMs: durationMs * 0.3 };
}

/** Swaps one filter to its other build and back, until `stop`. */
export async function planSwaps(
  mesh: SwapMesh,
  screen: Screen,
  plan: {
    durationMs: number | null;
    stop: AbortSignal;
    choice: SwapChoice;
    done: (outcome: SwapOutcome) => void;
  },
): Promise<void> {
  const { firstMs, everyMs } = swapTimes(plan.durationMs);
  let dueMs = performance.now() + firstMs;
  for (let swaps = 0;; swaps++) {
    await until(dueMs, plan.stop);
    if (plan.stop.aborted) return;
    try {
      // asked each time: somebody may have rolled out another build by hand
      const next = await swappable(mesh.adminUrl, plan.choice);
      if (next === null) screen.alarm("no filter has another build to swap to");
      else {
        const outcome = await swap(mesh, screen, next.filter, next.build, plan.stop);
        if (outcome !== null) plan.done(outcome);
      }
    } catch (e) {
      screen.alarm(`a swap was not possible: ${errorText(e)}`);
    }
    // a plan with an end makes two, so that the last requests run in peace
    if (plan.durationMs !== null && swaps >= 1) return;
    dueMs = Math.max(dueMs + everyMs, performance.now());
  }
}
