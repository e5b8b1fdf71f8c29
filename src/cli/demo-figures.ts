// Arithmetic on what was scraped: counts for each service, the difference of two moments, rates and
// percentiles. Pure.

import type { FilterFigures, ProxySnapshot } from "./demo-scrape.ts";
import { type DemoPod, NAMESPACE, SERVICES } from "./demo-plan.ts";

/** Everything that the proxies said at one moment, by pod. */
export type MeshSnapshot = ReadonlyMap<string, ProxySnapshot>;

/** What happened to the requests to one service. */
export interface ServiceCounts {
  /** What callers saw, after retries. */
  readonly requests: number;
  readonly failures: number;
  /** What the proxies sent. */
  readonly attempts: number;
  readonly failedAttempts: number;
  /** Upper bound in ms to count, cumulative as in the exposition. */
  readonly latency: ReadonlyMap<number, number>;
  /** Requests that arrived at its proxies, and those that came by mutual TLS with an identity. */
  readonly arrived: number;
  readonly arrivedMtls: number;
}

/** Counts for each service of the demo, over all proxies. */
export function countServices(
  mesh: MeshSnapshot,
  pods: readonly DemoPod[],
): ReadonlyMap<string, ServiceCounts> {
  return new Map(SERVICES.map((service) => [service, countService(mesh, pods, service)]));
}

function countService(mesh: MeshSnapshot, pods: readonly DemoPod[], service: string) {
  const of = new Set(pods.filter((pod) => pod.app === service).map((pod) => pod.name));
  const host = `${service}.${NAMESPACE}.svc.`;
  const latency = new Map<number, number>();
  let requests = 0;
  let failures = 0;
  let attempts = 0;
  let failedAttempts = 0;
  let arrived = 0;
  let arrivedMtls = 0;
  for (const [pod, { samples }] of mesh) {
    for (const { name, labels, value } of samples) {
      if (name === "request_total" && labels.direction === "inbound" && of.has(pod)) {
        arrived += value;
        if (labels.tls === "true" && (labels.client_id ?? "") !== "") arrivedMtls += value;
      }
      if (labels.direction !== "outbound" || !(labels.dst ?? "").startsWith(host)) continue;
      const failed = labels.classification === "failure" ? value : 0;
      if (name === "route_response_total") {
        requests += value;
        failures += failed;
      } else if (name === "route_actual_response_total") {
        attempts += value;
        failedAttempts += failed;
      } else if (name === "route_response_latency_ms_bucket") {
        const bound = boundOf(labels.le);
        latency.set(bound, (latency.get(bound) ?? 0) + value);
      }
    }
  }
  return { requests, failures, attempts, failedAttempts, latency, arrived, arrivedMtls };
}

function boundOf(le: string | undefined): number {
  return le === "+Inf" ? Infinity : Number(le);
}

/** What happened between two moments. A counter that went back (a proxy was replaced) counts from 0. */
export function since(now: ServiceCounts, before: ServiceCounts | undefined): ServiceCounts {
  if (before === undefined) return now;
  const minus = (a: number, b: number) => a >= b ? a - b : a;
  return {
    requests: minus(now.requests, before.requests),
    failures: minus(now.failures, before.failures),
    attempts: minus(now.attempts, before.attempts),
    failedAttempts: minus(now.failedAttempts, before.failedAttempts),
    latency: new Map(
      [...now.latency].map(([le, n]) => [le, minus(n, before.latency.get(le) ?? 0)]),
    ),
    arrived: minus(now.arrived, before.arrived),
    arrivedMtls: minus(now.arrivedMtls, before.arrivedMtls),
  };
}

/** A share from 0 to 1; null when nothing happened. */
export function share(part: number, whole: number): number | null {
  return whole <= 0 ? null : part / whole;
}

/** A percentile of a cumulative histogram, linear within a bucket, as Prometheus computes it. Null: empty. */
export function percentile(latency: ReadonlyMap<number, number>, p: number): number | null {
  const buckets = [...latency].sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const rank = p * total;
  let lower = 0;
  let below = 0;
  for (const [bound, count] of buckets) {
    if (count >= rank) {
      if (bound === Infinity) return lower;
      return lower + (bound - lower) * ((rank - below) / Math.max(1e-9, count - below));
    }
    lower = bound;
    below = count;
  }
  return lower;
}

/** A build of a filter, over all proxies that run it. */
export interface FilterTotals {
  readonly name: string;
  readonly sha256: string;
  readonly calls: number;
  readonly nsPerCall: number;
  readonly traps: number;
  /** Of the proxy that said something other than the rest, if any. */
  readonly state: string;
  readonly lastError: string;
}

/**
 * Keeps the last figures of each build on each proxy. A proxy forgets a build that it no longer
 * runs; its calls were made all the same.
 */
export class FilterLedger {
  readonly #seen = new Map<string, FilterFigures>();

  add(mesh: MeshSnapshot): void {
    for (const [pod, { stats }] of mesh) {
      for (const filter of stats.filters) {
        this.#seen.set(`${pod} ${filter.name} ${filter.sha256}`, filter);
      }
    }
  }

  totals(): readonly FilterTotals[] {
    const builds = new Map<string, FilterFigures[]>();
    for (const filter of this.#seen.values()) {
      const key = `${filter.name} ${filter.sha256}`;
      builds.set(key, [...(builds.get(key) ?? []), filter]);
    }
    return [...builds.values()].map(total).sort((a, b) =>
      a.name < b.name ? -1 : a.name > b.name ? 1 : a.sha256 < b.sha256 ? -1 : 1
    );
  }
}

function total(of: readonly FilterFigures[]): FilterTotals {
  const sum = (pick: (f: FilterFigures) => number) => of.reduce((n, f) => n + pick(f), 0);
  const timed = of.filter((f) => f.nsPerCall > 0);
  const weight = timed.reduce((n, f) => n + f.calls, 0);
  const states = new Map<string, number>();
  for (const f of of) states.set(f.state, (states.get(f.state) ?? 0) + 1);
  const rarest = [...states].sort((a, b) => a[1] - b[1])[0];
  return {
    name: of[0]?.name ?? "",
    sha256: of[0]?.sha256 ?? "",
    calls: sum((f) => f.calls),
    nsPerCall: weight === 0
      ? 0
      : Math.round(timed.reduce((n, f) => n + f.nsPerCall * f.calls, 0) / weight),
    traps: sum((f) => f.traps),
    state: rarest?.[0] ?? "",
    lastError: of.find((f) => f.lastError !== "")?.lastError ?? "",
  };
}
