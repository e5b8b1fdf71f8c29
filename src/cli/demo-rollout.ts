// Replaces one filter by another build while requests run: rolls it out, waits until the proxies run
// it, looks whether it works, and takes it back when it does not.

import { errorText } from "../core/errors.ts";
import type { SwapOutcome } from "./demo-report.ts";
import type { FilterFigures, ProxyStats } from "./demo-scrape.ts";
import type { Screen } from "./demo-screen.ts";
import { until } from "./demo-time.ts";

/** What swapping needs of the running demo. */
export interface SwapMesh {
  /** `http://127.0.0.1:8084` */
  readonly adminUrl: string;
  /** The stats of every proxy that answers, by pod. */
  stats(): Promise<ReadonlyMap<string, ProxyStats>>;
  /**
   * Runs `during` and resolves with the requests that were under way at any time of it, when they
   * have ended or `stop` comes.
   */
  crossing(
    during: () => Promise<void>,
    stop: AbortSignal,
  ): Promise<{ crossed: number; failed: number }>;
}

/** What is rolled out: a build that the registry has, or a new one. */
export type Build =
  | { readonly sha256: string }
  | { readonly sha256: string; readonly wasm: Uint8Array };

const ASK_EVERY_MS = 50;
const TAKEN_WITHIN_MS = 8_000;
/** A build that runs so long without a trap, and was called, has proven itself. */
const PROVEN_AFTER_MS = 300;
/** Nobody may call it: then it is believed after this time. */
const PROVEN_WITHIN_MS = 2_000;

/** What else is told of a swap. */
export interface SwapTold {
  /** Makes a proxy's reason readable: with the source's lines in place of byte offsets. */
  explain?(reason: string): string;
  /** Every proxy runs the build from now on. */
  taken?(): void;
  /** Requests that fail are the filter's own doing, and not counted against the swap. */
  readonly mayRefuse?: boolean;
}

/**
 * Rolls a build out, waits until every proxy that runs the filter runs it, and has requests prove
 * it; a build that a proxy refuses or that traps is taken back. Null: `stop` came first, and nothing
 * can be said.
 */
export async function swap(
  mesh: SwapMesh,
  screen: Screen,
  filter: string,
  build: Build,
  stop: AbortSignal,
  told: SwapTold = {},
): Promise<SwapOutcome | null> {
  const { sha256 } = build;
  let why = "";
  let tookMs = 0;
  const { crossed, failed } = await mesh.crossing(async () => {
    const before = figuresOf(await mesh.stats(), filter, sha256);
    const startedMs = performance.now();
    const answer = await rollout(mesh.adminUrl, filter, build);
    why = answer.refused;
    if (why !== "") return;
    why = await taken(mesh, filter, sha256, stop);
    tookMs = Math.round(performance.now() - startedMs);
    if (why === "") told.taken?.();
    if (why === "") why = await proven(mesh, filter, sha256, before, stop);
    if (why === "" || stop.aborted || answer.previous === null) return;
    await rollout(mesh.adminUrl, filter, { sha256: answer.previous });
    await taken(mesh, filter, answer.previous, stop);
  }, stop);
  if (stop.aborted) return null;
  const to = sha256.slice(0, 8);
  if (why === "") {
    const requests = told.mayRefuse === true
      ? ""
      : `, ${crossed} requests crossed, ${failed} failed`;
    screen.message(`${filter}: swapped to ${to} in ${tookMs} ms${requests}`);
  } else {
    const readable = told.explain?.(why) ?? why;
    screen.alarm(`${filter}: the build before ${to} goes on serving: ${readable}`);
  }
  return { filter, done: why === "", crossed, failed };
}

/** What the control plane says to a roll-out. */
export interface RolloutResult {
  /** Empty: it is rolled out. */
  readonly refused: string;
  /** What was served before. */
  readonly previous: string | null;
}

/** Asks the control plane; never rejects. */
export async function rollout(
  adminUrl: string,
  filter: string,
  build: Build,
): Promise<RolloutResult> {
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
    const answer = (await response.json()) as { error?: string; previous?: string | null };
    if (response.ok) return { refused: "", previous: answer.previous ?? null };
    return { refused: answer.error ?? `status ${response.status}`, previous: null };
  } catch (e) {
    return { refused: `the control plane did not answer: ${errorText(e)}`, previous: null };
  }
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
    why = inTheWay(await mesh.stats(), filter, sha256);
    // a refusal is final, a proxy that is not there yet may come
    if (why === "" || why.includes(REFUSES)) return why;
    await until(performance.now() + ASK_EVERY_MS, stop);
  } while (performance.now() < lateMs && !stop.aborted);
  return why;
}

const REFUSES = "'s proxy refuses it: ";

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
      return pod + (error === "" ? "'s proxy has not taken it" : REFUSES + error);
    }
  }
  return running > 0 ? "" : "no proxy runs the filter";
}

/** Lets requests run through a build. Resolves with "" or how it trapped. */
async function proven(
  mesh: SwapMesh,
  filter: string,
  sha256: string,
  before: ReadonlyMap<string, FilterFigures>,
  stop: AbortSignal,
): Promise<string> {
  const startedMs = performance.now();
  for (;;) {
    let called = true;
    for (const [pod, now] of figuresOf(await mesh.stats(), filter, sha256)) {
      const then = before.get(pod);
      if (now.traps > (then?.traps ?? 0)) return `${pod}'s proxy: ${now.lastError}`;
      if (now.calls <= (then?.calls ?? 0)) called = false;
    }
    const sinceMs = performance.now() - startedMs;
    if (sinceMs >= (called ? PROVEN_AFTER_MS : PROVEN_WITHIN_MS) || stop.aborted) return "";
    await until(performance.now() + ASK_EVERY_MS, stop);
  }
}

/** The figures of one build, by pod. */
function figuresOf(
  stats: ReadonlyMap<string, ProxyStats>,
  filter: string,
  sha256: string,
): ReadonlyMap<string, FilterFigures> {
  const found = new Map<string, FilterFigures>();
  for (const [pod, { filters }] of stats) {
    const build = filters.find((f) => f.name === filter && f.sha256 === sha256);
    if (build !== undefined) found.set(pod, build);
  }
  return found;
}
