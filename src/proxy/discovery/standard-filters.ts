// Filters that the proxy carries: what a route of the wire API asks for without naming a filter is
// decided by one of them. This file says which, and with what configuration; `route-chains.ts` runs
// them after the filters that the route names, unless one of those has the same say.

import type { FilterRef } from "../../core/filter.ts";
import { isFailure, type Route, type RouteRetry, type StatusRange } from "../../model/route.ts";

/** A module that came with the proxy, and its digest. */
export interface CarriedModule {
  readonly sha256: string;
  readonly bytes: Uint8Array;
}

/** The modules that came with the proxy; null: the file could not be read, and its say is nobody's. */
export interface StandardModules {
  readonly retry: CarriedModule | null;
}

/** A proxy without any, for tests and the static one. */
export const NO_STANDARD_MODULES: StandardModules = { retry: null };

/** A filter of ours, and the hook that makes it give way to a filter of the route's own. */
export interface StandardFilter {
  readonly ref: FilterRef;
  /** The name of a hook in a module's manifest. */
  readonly unlessHook: string;
}

/** What a route needs beside the filters that it names. Target rate. */
export function standardFilters(route: Route, modules: StandardModules): readonly StandardFilter[] {
  const { retry } = route;
  if (retry === null || modules.retry === null) return [];
  const config = JSON.stringify(retryConfig(route, retry));
  return [{
    ref: standardRef("standard-retry", modules.retry, config),
    unlessHook: "outcome",
  }];
}

/** The configuration of `filters/retry`. */
function retryConfig(route: Route, retry: RouteRetry) {
  return {
    statuses: (retry.statuses ?? failuresOf(route)).map(rangeText).join(","),
    grpc: retry.grpc ?? [],
    maxRetries: retry.maxRetries,
    attemptTimeoutMs: retry.attemptTimeoutMs,
    backoffMs: retry.backoff.minMs,
    maxBackoffMs: retry.backoff.maxMs,
    jitter: retry.backoff.jitter,
    // The route says that it may be retried; nothing is left to guess from the method.
    anyMethod: true,
  };
}

/** The statuses that the route's classes call failures, as ranges. */
function failuresOf({ responseClasses }: Route): readonly StatusRange[] {
  const ranges: { min: number; max: number }[] = [];
  for (let status = 100; status <= 599; status++) {
    if (!isFailure(status, responseClasses)) continue;
    const last = ranges.at(-1);
    if (last?.max === status - 1) last.max = status;
    else ranges.push({ min: status, max: status });
  }
  return ranges;
}

function rangeText({ min, max }: StatusRange): string {
  return min === max ? String(min) : `${min}-${max}`;
}

function standardRef(name: string, { sha256, bytes }: CarriedModule, config: string): FilterRef {
  return {
    name,
    sha256,
    size: bytes.length,
    config: new TextEncoder().encode(config),
    // Without it the request goes on, as it would have without retries.
    failurePolicy: "open",
    fuelPerHook: 0,
    memoryPages: 0,
  };
}
