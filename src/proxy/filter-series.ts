// What the proxy itself counts about filters, as series beside those that filters keep: calls, traps,
// calls that were not made, and which version of each runs. Scrape rate.

import type { FilterSeries, FilterStats, MetricInfo } from "../core/filter.ts";
import type { FilterStatus } from "./discovery/filters.ts";

/** Filters may not use the prefix `host_` for metrics of their own. */
function metric(
  name: string,
  kind: "counter" | "gauge",
  labels: readonly string[],
  help: string,
): MetricInfo {
  return { name: `host_${name}`, kind, labels, help, bounds: [] };
}

const MODULE = ["filter", "sha256"];
const CALLS = metric("calls_total", "counter", MODULE, "Calls of hooks");
const TRAPS = metric(
  "traps_total",
  "counter",
  [...MODULE, "reason"],
  "Calls that were ended: out of fuel, or another trap",
);
const OVER_BUDGET = metric(
  "over_budget_total",
  "counter",
  MODULE,
  "Calls that were not made, since the filter had used its share of the time",
);
const STATE = metric(
  "state",
  "gauge",
  ["filter", "state", "wanted", "serving"],
  "Routes by the version of the filter that is wanted and the one that runs",
);

/** The series of all filters. Digests are cut to twelve digits. */
export function hostSeries(
  stats: readonly FilterStats[],
  status: readonly FilterStatus[],
): readonly FilterSeries[] {
  const short = (sha256: string) => sha256.slice(0, 12);
  const of = (
    info: MetricInfo,
    value: (one: FilterStats) => number,
    more: Readonly<Record<string, string>> = {},
  ) =>
    stats.map((one): FilterSeries => ({
      metric: info,
      labels: { filter: one.name, sha256: short(one.sha256), ...more },
      values: [value(one)],
    }));
  return [
    ...of(CALLS, (one) => one.calls),
    ...of(TRAPS, (one) => one.fuelExhausted, { reason: "fuel" }),
    ...of(TRAPS, (one) => one.traps - one.fuelExhausted, { reason: "trap" }),
    ...of(OVER_BUDGET, (one) => one.overBudget),
    ...status.map(({ name, state, wantedSha256, servingSha256, routes }): FilterSeries => ({
      metric: STATE,
      labels: { filter: name, state, wanted: short(wantedSha256), serving: short(servingSha256) },
      values: [routes],
    })),
  ];
}

/** What an engine counted, with what discovery says of each filter's version. */
export function filterReport(
  stats: readonly FilterStats[],
  status: readonly FilterStatus[],
): readonly (FilterStats & { readonly state: string })[] {
  return stats.map((one) => {
    const known = status.find((s) => s.name === one.name && s.servingSha256 === one.sha256) ??
      status.find((s) => s.name === one.name);
    const state = known === undefined
      ? "unused"
      : known.servingSha256 === one.sha256
      ? known.state
      : "replaced";
    return { ...one, lastError: known?.lastError || one.lastError, state };
  });
}
