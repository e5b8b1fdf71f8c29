// What the demo says when it ends: one document, and whether the mesh kept its promises. Pure.

import type { FilterTotals, MeshSnapshot, ServiceCounts } from "./demo-figures.ts";
import { percentile, share } from "./demo-figures.ts";

/** The document that `--json` prints. Rates are shares from 0 to 1; absent figures are null. */
export interface DemoReport {
  readonly services: readonly {
    readonly name: string;
    readonly requests: number;
    /** What callers saw, after retries. */
    readonly successRate: number | null;
    /** Per attempt. */
    readonly actualSuccessRate: number | null;
    readonly p50Ms: number | null;
    readonly p95Ms: number | null;
    readonly p99Ms: number | null;
  }[];
  readonly proxies: readonly {
    readonly name: string;
    readonly mtlsConnections: number;
    readonly plaintextConnections: number;
    readonly rssMiB: number;
  }[];
  readonly filters: readonly {
    readonly name: string;
    readonly sha256: string;
    readonly calls: number;
    readonly nsPerCall: number;
    readonly traps: number;
  }[];
  readonly swaps: number;
  readonly requestsAcrossSwaps: number;
  readonly failedDuringSwap: number;
  readonly startupMs: number;
}

/** One swap of a filter that was tried. */
export interface SwapOutcome {
  readonly filter: string;
  /** Every proxy that runs the filter took the new build. */
  readonly done: boolean;
  /** Requests under way while it happened. */
  readonly crossed: number;
  readonly failed: number;
}

/** What the run left behind. */
export interface DemoFacts {
  readonly services: ReadonlyMap<string, ServiceCounts>;
  readonly mesh: MeshSnapshot;
  readonly filters: readonly FilterTotals[];
  readonly swaps: readonly SwapOutcome[];
  readonly startupMs: number;
  /** The load generator's own record. */
  readonly load: { readonly requests: number; readonly failed: number };
  /** Processes that ended although nobody asked them to. */
  readonly died: readonly string[];
  /** Somebody ended it before its time: what takes time need not have happened. */
  readonly isStopped: boolean;
}

/** Callers must see at least this share of their requests succeed. */
export const MIN_SUCCESS = 0.999;
/** Filters must be replaced at least this often. */
export const MIN_SWAPS = 2;

/** The document. */
export function report(facts: DemoFacts): DemoReport {
  const crossing = facts.swaps.filter((swap) => swap.done);
  return {
    services: [...facts.services].map(([name, of]) => ({
      name,
      requests: of.requests,
      successRate: rounded(share(of.requests - of.failures, of.requests), 6),
      actualSuccessRate: rounded(share(of.attempts - of.failedAttempts, of.attempts), 6),
      p50Ms: rounded(percentile(of.latency, 0.5), 1),
      p95Ms: rounded(percentile(of.latency, 0.95), 1),
      p99Ms: rounded(percentile(of.latency, 0.99), 1),
    })),
    proxies: [...facts.mesh].map(([name, { stats }]) => ({
      name,
      mtlsConnections: stats.proxy.mtlsConnections,
      plaintextConnections: stats.proxy.plaintextConnections,
      rssMiB: rounded(stats.proxy.rssMiB, 1) ?? 0,
    })),
    filters: facts.filters.map(({ name, sha256, calls, nsPerCall, traps }) => ({
      name,
      sha256,
      calls,
      nsPerCall,
      traps,
    })),
    swaps: crossing.length,
    requestsAcrossSwaps: crossing.reduce((n, swap) => n + swap.crossed, 0),
    failedDuringSwap: facts.swaps.reduce((n, swap) => n + swap.failed, 0),
    startupMs: Math.round(facts.startupMs),
  };
}

/** Each promise that was not kept, in one line. Empty: exit status 0. */
export function broken(facts: DemoFacts): readonly string[] {
  const lines: string[] = [];
  const { load } = facts;
  const { isStopped } = facts;
  if (load.requests === 0) {
    if (!isStopped) lines.push("the load sent no request");
  } else {
    const success = 1 - load.failed / load.requests;
    if (success < MIN_SUCCESS) {
      lines.push(`the load saw ${load.failed} of ${load.requests} requests fail`);
    }
  }
  for (const [name, of] of facts.services) {
    if (of.requests === 0) {
      if (!isStopped) lines.push(`${name}: no request was counted`);
    } else if (1 - of.failures / of.requests < MIN_SUCCESS) {
      lines.push(`${name}: ${of.failures} of ${of.requests} requests failed after retries`);
    }
    if (of.arrivedMtls < of.arrived) {
      lines.push(`${name}: ${of.arrived - of.arrivedMtls} requests arrived without mutual TLS`);
    }
  }
  for (const [name, { stats }] of facts.mesh) {
    if (stats.proxy.plaintextConnections > 0) {
      lines.push(`${name}'s proxy: ${stats.proxy.plaintextConnections} hops were plaintext`);
    }
    if (stats.proxy.mtlsConnections === 0 && !isStopped) {
      lines.push(`${name}'s proxy: no hop was mutual TLS`);
    }
  }
  const done = facts.swaps.filter((swap) => swap.done && swap.crossed > 0).length;
  if (done < MIN_SWAPS && !isStopped) {
    lines.push(`${done} swaps of a filter had requests crossing them: at least ${MIN_SWAPS} must`);
  }
  for (const swap of facts.swaps) {
    if (!swap.done && !isStopped) lines.push(`${swap.filter}: a swap did not reach every proxy`);
    if (swap.failed > 0) {
      lines.push(`${swap.filter}: ${swap.failed} requests failed while it was swapped`);
    }
  }
  for (const name of facts.died) lines.push(`${name} ended by itself`);
  return lines;
}

function rounded(value: number | null, digits: number): number | null {
  return value === null ? null : Number(value.toFixed(digits));
}
