// The series of one target under the labels of its policy: by route, by route and backend, by balancer.
// Target rate: what requests hold is made here, and found again when a snapshot changes.

import type { Labels } from "../../core/sheet.ts";
import type { Origin } from "../../model/profile.ts";
import type { Route, SplitBackend } from "../../model/route.ts";
import type { OutboundSnapshot } from "../discovery/discovery.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { BackendSeries } from "../metrics/backends.ts";
import { type BalancerKind, BalancerSeries, type BalancerState } from "../metrics/balancers.ts";
import { namedDefault, resourceLabels, routeLabels } from "../metrics/origins.ts";
import { OutboundRouteSeries } from "../metrics/outbound-routes.ts";
import { RouteSeries } from "../metrics/routes.ts";

/** What of the configuration the series of targets depend on. */
export interface SeriesOptions {
  readonly metrics: ProxyMetrics;
  /** Whether `hostname` is a label of route metrics. */
  readonly hostnameLabels?: boolean;
  /** How long requests wait for an endpoint. */
  readonly failfastMs?: number;
}

/** One balancer, and the backend whose it is; null: the target's only one. */
interface Balancer {
  readonly of: string | null;
  readonly kind: BalancerKind;
  readonly series: BalancerSeries;
}

/** One target's. */
export class TargetSeries {
  readonly #o: SeriesOptions;
  readonly #routes = new Map<string, RouteSeries>();
  readonly #policies = new Map<string, OutboundRouteSeries>();
  readonly #backends = new Map<string, BackendSeries>();
  readonly #balancers = new Map<string, Balancer>();

  constructor(o: SeriesOptions) {
    this.#o = o;
  }

  /** The `route_…` families. */
  route({ authority }: OutboundSnapshot, route: Route): RouteSeries {
    const labels: Record<string, string> = { direction: "outbound", dst: authority };
    for (const [key, value] of Object.entries(route.labels)) labels[`rt_${key}`] = value;
    return memo(this.#routes, labels, () => new RouteSeries(this.#o.metrics, labels));
  }

  /** The families of a policy's route; null: a ServiceProfile decides, which has none. */
  policy(snapshot: OutboundSnapshot, route: Route): OutboundRouteSeries | null {
    const labels = this.#labels(snapshot, route);
    if (labels === null) return null;
    const isGrpc = route.isGrpc === true;
    const wildcard = route.wildcard ?? "";
    const { metrics, hostnameLabels: hostnames = false } = this.#o;
    return memo(
      this.#policies,
      { ...labels, wildcard, isGrpc: String(isGrpc) },
      () => new OutboundRouteSeries(metrics, { labels, isGrpc, hostnames, wildcard }),
    );
  }

  /** Those of one of its backends; `of` null: the target's only one. */
  backend(
    snapshot: OutboundSnapshot,
    route: Route,
    of: SplitBackend | null,
  ): BackendSeries | null {
    const names = this.#labels(snapshot, route);
    if (names === null) return null;
    const labels = { ...names, ...resourceLabels("backend", originOf(snapshot, of)) };
    const isGrpc = route.isGrpc === true;
    return memo(
      this.#backends,
      { ...labels, isGrpc: String(isGrpc) },
      () => new BackendSeries(this.#o.metrics, labels, isGrpc),
    );
  }

  /** The balancer of a kind of traffic to a backend, as `backend` names it. */
  balancer(
    snapshot: OutboundSnapshot,
    kind: BalancerKind,
    of: SplitBackend | null,
    nowMs: number,
  ): BalancerSeries {
    const labels = {
      ...resourceLabels("parent", parentOf(snapshot)),
      ...resourceLabels("backend", originOf(snapshot, of)),
    };
    const { metrics, failfastMs = 0 } = this.#o;
    return memo(this.#balancers, { ...labels, kind }, () => ({
      of: of?.authority ?? null,
      kind,
      series: new BalancerSeries(metrics, kind, labels, failfastMs, nowMs),
    })).series;
  }

  /** Whether requests to the target fail at once now. */
  gate(isShut: boolean, nowMs: number): void {
    for (const { series } of this.#balancers.values()) series.gate(isShut, nowMs);
  }

  /** Whether requests to one backend fail at once now, because it cannot be connected to. */
  gateOf(backend: string | null, isShut: boolean, nowMs: number): void {
    for (const { of, kind, series } of this.#balancers.values()) {
      if (of === backend && kind === "http") series.gate(isShut, nowMs);
    }
  }

  /** Writes what is true of all balancers, by their backends; null: the target is gone. */
  observe(stateOf: ((backend: string | null) => BalancerState) | null): void {
    for (const { of, series } of this.#balancers.values()) series.observe(stateOf?.(of) ?? null);
  }

  #labels(snapshot: OutboundSnapshot, route: Route): Labels | null {
    if (snapshot.parent === null) return null;
    return {
      ...resourceLabels("parent", parentOf(snapshot)),
      ...routeLabels(route.origin ?? namedDefault(route.name)),
    };
  }
}

const NO_POLICY = namedDefault("default");

function parentOf({ parent }: OutboundSnapshot): Origin {
  return parent ?? NO_POLICY;
}

function originOf({ backend }: OutboundSnapshot, of: SplitBackend | null): Origin {
  return (of === null ? backend : of.origin) ?? NO_POLICY;
}

/** Names that a target's policy may ever have had. */
const MAX_MEMO = 2_000;

function memo<T>(map: Map<string, T>, labels: Labels, make: () => T): T {
  const key = JSON.stringify(labels);
  let value = map.get(key);
  if (value === undefined) {
    if (map.size >= MAX_MEMO) map.clear();
    value = make();
    map.set(key, value);
  }
  return value;
}
