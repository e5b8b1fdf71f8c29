// The reports of several workers as one: an endpoint, a filter and a series of a filter are each one,
// whatever threads they are in. Scrape rate.

import type { FilterSeries, FilterStats } from "../../core/filter.ts";
import type { EndpointReport } from "../report.ts";
import type { WorkerReport } from "./protocol.ts";

const WORST: readonly EndpointReport["state"][] = ["ready", "unreachable", "ejected"];

/** Sums up. A worker that is gone is in `past`: what grows still counts, its endpoints do not. */
export function sumReports(
  now: readonly WorkerReport[],
  past: readonly WorkerReport[],
): WorkerReport {
  const all = [...now, ...past];
  return {
    mtlsConnections: all.reduce((n, r) => n + r.mtlsConnections, 0),
    plaintextConnections: all.reduce((n, r) => n + r.plaintextConnections, 0),
    endpoints: merge(now.flatMap((r) => r.endpoints), (e) => `${e.authority}|${e.addr}`, endpoint),
    filterStats: merge(all.flatMap((r) => r.filterStats), (s) => `${s.name}|${s.sha256}`, stats),
    filterSeries: merge(
      [
        ...now.flatMap((r) => r.filterSeries),
        ...past.flatMap((r) => r.filterSeries).filter((s) => s.metric.kind !== "gauge"),
      ],
      ({ metric: { name, kind, bounds }, labels }) => JSON.stringify([name, kind, bounds, labels]),
      series,
    ),
    exemplars: all.flatMap((r) => r.exemplars),
  };
}

function merge<T>(rows: readonly T[], keyOf: (row: T) => string, add: (a: T, b: T) => T): T[] {
  const merged = new Map<string, T>();
  for (const row of rows) {
    const key = keyOf(row);
    const known = merged.get(key);
    merged.set(key, known === undefined ? row : add(known, row));
  }
  return [...merged.values()];
}

function endpoint(a: EndpointReport, b: EndpointReport): EndpointReport {
  return {
    ...a,
    ewmaMs: Math.max(a.ewmaMs, b.ewmaMs),
    pending: a.pending + b.pending,
    state: WORST.indexOf(a.state) > WORST.indexOf(b.state) ? a.state : b.state,
  };
}

function stats(a: FilterStats, b: FilterStats): FilterStats {
  const calls = a.calls + b.calls;
  return {
    ...a,
    calls,
    // each thread's median, by how often it called
    nsPerCall: calls === 0 ? 0 : (a.nsPerCall * a.calls + b.nsPerCall * b.calls) / calls,
    traps: a.traps + b.traps,
    fuelExhausted: a.fuelExhausted + b.fuelExhausted,
    overBudget: a.overBudget + b.overBudget,
    lastError: b.lastError || a.lastError,
  };
}

function series(a: FilterSeries, b: FilterSeries): FilterSeries {
  return { ...a, values: a.values.map((value, i) => value + (b.values[i] ?? 0)) };
}
