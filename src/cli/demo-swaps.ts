// Replaces one filter by another build while requests run, and asks the load generator how many
// requests were under way and whether any failed.

import { errorText } from "../core/errors.ts";
import type { SwapOutcome } from "./demo-report.ts";
import type { ProxyStats } from "./demo-scrape.ts";
import type { Screen } from "./demo-screen.ts";

/** What swapping needs of the running demo. */
export interface SwapMesh {
  /** `http://127.0.0.1:8084` */
  readonly adminUrl: string;
  /** The stats of every proxy that answers, by pod. */
  stats(): Promise<ReadonlyMap<string, ProxyStats>>;
  /** Runs `during` and resolves with the requests that were under way at any time of it. */
  crossing(during: () => Promise<void>): Promise<{ crossed: number; failed: number }>;
}

/** What is rolled out: a build that the registry has, or a new one. */
export type Build =
  | { readonly sha256: string }
  | { readonly sha256: string; readonly wasm: Uint8Array };

const ASK_EVERY_MS = 50;
const TAKEN_WITHIN_MS = 8_000;
/** Requests go on with the new build for so long before the swap counts as over. */
const SETTLE_MS = 300;

/**
 * Rolls a build out and waits until every proxy that runs the filter runs it. Null: `stop` came
 * first, and nothing can be said.
 */
export async function swap(
  mesh: SwapMesh,
  screen: Screen,
  filter: string,
  build: Build,
  stop: AbortSignal,
): Promise<SwapOutcome | null> {
  const started = performance.now();
  let why = "";
  const { crossed, failed } = await mesh.crossing(async () => {
    why = await rollout(mesh.adminUrl, filter, build);
    if (why === "") why = await taken(mesh, filter, build.sha256, stop);
    await until(performance.now() + SETTLE_MS, stop);
  });
  if (stop.aborted) return null;
  const took = Math.round(performance.now() - started - SETTLE_MS);
  const to = build.sha256.slice(0, 8);
  if (why === "") {
    screen.message(
      `${filter}: swapped to ${to} in ${took} ms, ${crossed} requests crossed, ${failed} failed`,
    );
  } else {
    screen.alarm(`${filter}: the build before ${to} goes on serving: ${why}`);
  }
  return { filter, done: why === "", crossed, failed };
}

/** Asks the control plane. Resolves with "" or why it refuses. */
export async function rollout(adminUrl: string, filter: string, build: Build): Promise<string> {
  try {
    const response = await fetch(`${adminUrl}/api/filters/${encodeURIComponent(filter)}/rollout`, {
      method: "POST",
      signal: AbortSignal.timeout(10_000),
      ...("wasm" in build
        ? {
          headers: { "content-type": "application/wasm" },
          body: build.wasm as Uint8Array<ArrayBuffer>,
        }
        : {
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ sha256: build.sha256 }),
        }),
    });
    const text = await response.text();
    return response.ok ? "" : reasonOf(text, response.status);
  } catch (e) {
    return `the control plane did not answer: ${errorText(e)}`;
  }
}

function reasonOf(text: string, status: number): string {
  try {
    const { error, reason } = JSON.parse(text) as { error?: unknown; reason?: unknown };
    if (typeof reason === "string") return reason;
    if (typeof error === "string") return error;
  } catch {
    // not JSON: the text is what there is
  }
  return `status ${status}: ${text.slice(0, 300).trim()}`;
}

/** Waits until each proxy that runs the filter runs this build. Resolves with "" or what is in the way. */
async function taken(
  mesh: SwapMesh,
  filter: string,
  sha256: string,
  stop: AbortSignal,
): Promise<string> {
  const lateMs = performance.now() + TAKEN_WITHIN_MS;
  let why = "";
  do {
    const stats = await mesh.stats();
    why = inTheWay(stats, filter, sha256);
    if (why === "") return "";
    await until(performance.now() + ASK_EVERY_MS, stop);
  } while (performance.now() < lateMs && !stop.aborted);
  return why;
}

/** "" when every proxy that runs the filter runs this build; else the first reason. */
export function inTheWay(
  stats: ReadonlyMap<string, ProxyStats>,
  filter: string,
  sha256: string,
): string {
  let running = 0;
  for (const [pod, { filters }] of stats) {
    const builds = filters.filter((f) => f.name === filter);
    if (builds.length === 0) continue;
    if (builds.some((f) => f.sha256 === sha256 && f.state === "ready")) running++;
    else {
      // a build that cannot be loaded is told of the one that goes on serving
      const error = builds.find((f) => f.state === "failed")?.lastError ?? "";
      return `${pod}'s proxy ${error === "" ? "has not taken it" : `refuses it: ${error}`}`;
    }
  }
  return running > 0 ? "" : "no proxy runs the filter";
}

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
  const response = await fetch(`${adminUrl}/api/filters`, { signal: AbortSignal.timeout(5_000) });
  const list = (await response.json()) as { filters?: readonly ListedFilter[] };
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

function until(dueMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, dueMs - performance.now()));
    signal.addEventListener("abort", done, { once: true });
  });
}
