// What a data plane tells of itself when it is scraped, from one thread or from the sum of several.
// Plain values; the admin server writes them down.

import type { FilterSeries, FilterStats } from "../core/filter.ts";
import type { Sheet } from "../core/sheet.ts";
import type { EndpointState } from "./outbound/endpoint.ts";
import type { Targets } from "./outbound/targets.ts";

/** An endpoint in use, as the balancer sees it. */
export interface EndpointReport {
  readonly authority: string;
  readonly addr: string;
  readonly weight: number;
  readonly ewmaMs: number;
  /** Requests in progress. */
  readonly pending: number;
  readonly state: "ready" | "unreachable" | "ejected";
}

/** All of it, at one moment. */
export interface PlaneReport {
  readonly sheet: Sheet;
  /** Connections between proxies, accepted or made, ever. */
  readonly mtlsConnections: number;
  readonly plaintextConnections: number;
  readonly endpoints: readonly EndpointReport[];
  readonly filterStats: readonly FilterStats[];
  readonly filterSeries: readonly FilterSeries[];
}

/** The endpoints of all targets of a thread, whose balancers' gauges are written too. */
export function endpointReports(targets: Targets, nowMs: number): readonly EndpointReport[] {
  for (const target of targets.all()) target.observe();
  return [...targets.all()].flatMap((target) =>
    target.endpoints.map((e) =>
      endpointReport(e.endpoint.backend ?? target.snapshot?.authority ?? "", e, nowMs)
    )
  );
}

function endpointReport(authority: string, state: EndpointState, nowMs: number): EndpointReport {
  return {
    authority,
    addr: state.name,
    weight: state.endpoint.weight,
    ewmaMs: Math.round(state.ewma.estimate(nowMs) * 100) / 100,
    pending: state.ewma.pending,
    state: state.isEjected(nowMs) ? "ejected" : state.isAway(nowMs) ? "unreachable" : "ready",
  };
}
