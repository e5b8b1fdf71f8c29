// A destination in use: its newest snapshot turned into what requests need – endpoints with their
// load, routes with their metrics, the retry budget. Target rate; requests only read it.

import { MeshError } from "../../core/errors.ts";
import type { FilterChain } from "../../core/filter.ts";
import { endpointKey } from "../../model/endpoint.ts";
import { isFailure, type Route } from "../../model/route.ts";
import type { OutboundSnapshot, Watched } from "../discovery/discovery.ts";
import { RouteSeries } from "../metrics/routes.ts";
import { EndpointState, type ReachOptions } from "./endpoint.ts";
import { KeyReader } from "./hash-key.ts";
import { HashRing } from "./hash-ring.ts";
import { HashSeries } from "./hash-series.ts";
import type { PendingCount } from "./peak-ewma.ts";
import { RetryTokens } from "./retry-budget.ts";
import { type SplitState, splitState } from "./split.ts";

/** A route of the newest snapshot. */
export interface RouteState {
  readonly route: Route;
  readonly chain: FilterChain;
  readonly series: RouteSeries;
  /** Null: to any endpoint of the target. */
  readonly split: SplitState | null;
}

/** Whoever waits for the target to become usable. */
export interface Waiting {
  /** The snapshot changed: look again. */
  retry(): void;
}

export class Target {
  readonly watched: Watched<OutboundSnapshot>;
  readonly reach: ReachOptions;
  snapshot: OutboundSnapshot | null = null;
  routes: readonly RouteState[] = [];
  /** Endpoints that may be picked. Replaced, never changed in place. */
  endpoints: readonly EndpointState[] = [];
  /** Of all endpoints, where requests with the same key go to the same one; null: they need not. */
  ring: HashRing | null = null;
  keys: KeyReader | null = null;
  hashes: HashSeries | null = null;
  budget: RetryTokens | null = null;
  /** No endpoint became ready in time: requests fail at once until one does. */
  failfast = false;
  readonly waiting = new Set<Waiting>();
  /** Requests and tunnels in progress. */
  active = 0;
  lastUsedMs = 0;
  readonly #byKey = new Map<string, EndpointState>();
  /** What is pending at all endpoints of a backend; the empty name is the target's own. */
  readonly #pending = new Map<string, PendingCount>();
  readonly #end: () => void;
  readonly #series = new Map<string, RouteSeries>();

  constructor(watched: Watched<OutboundSnapshot>, reach: ReachOptions) {
    this.watched = watched;
    this.reach = reach;
    this.lastUsedMs = reach.driver.now;
    this.#end = watched.subscribe((snapshot) => this.#update(snapshot));
    if (watched.value !== null) this.#update(watched.value);
  }

  /** Null: requests can be served. Else why not (yet), as the error they get when waiting ends. */
  unready(): MeshError | null {
    const { snapshot } = this;
    if (snapshot === null) {
      const why = this.watched.why;
      return new MeshError("failfast", why === "" ? "The control plane has not answered yet" : why);
    }
    if (!snapshot.exists) {
      return new MeshError(
        "no-service",
        this.watched.why || `No such service: ${snapshot.authority}`,
      );
    }
    if (snapshot.endpoints?.exists === false) {
      return new MeshError("no-service", `No such service: ${snapshot.authority}`);
    }
    if (this.endpoints.length > 0) return null;
    return new MeshError("failfast", `No endpoint of ${snapshot.authority} is ready`);
  }

  /** Ends streams and idle connections; those in use finish. */
  release(): void {
    this.#end();
    this.watched.release();
    for (const state of this.#byKey.values()) state.client.close();
  }

  #update(snapshot: OutboundSnapshot): void {
    const before = this.snapshot;
    this.snapshot = snapshot;
    if (before === null || before.budget !== snapshot.budget) {
      this.budget = new RetryTokens(snapshot.budget, this.reach.driver.now);
    }
    const accrual = JSON.stringify(snapshot.accrual);
    const renew = before !== null &&
      (JSON.stringify(before.accrual) !== accrual ||
        (before.http2Only === true) !== (snapshot.http2Only === true));
    const { endpoints } = this;
    if (before?.endpoints !== snapshot.endpoints || renew) this.#updateEndpoints(snapshot, renew);
    const hash = snapshot.hash ?? null;
    const isHashNew = JSON.stringify(before?.hash ?? null) !== JSON.stringify(hash);
    if (isHashNew) this.keys = hash === null ? null : new KeyReader(hash);
    if (isHashNew || endpoints !== this.endpoints) {
      this.ring = hash === null ? null : this.#ringOf(null);
      this.hashes = hash === null ? null : new HashSeries(this.reach.metrics, snapshot.authority);
    }
    const named = new Set(
      snapshot.routes.flatMap(({ route }) => route.split?.backends ?? []).map((b) => b.authority),
    );
    const isSplitNew = named.size > 0 && (isHashNew || endpoints !== this.endpoints);
    if (before?.routes !== snapshot.routes || isSplitNew) {
      const rings = new Map<string, HashRing | null>();
      for (const authority of hash === null ? [] : named) {
        rings.set(authority, this.#ringOf(authority));
      }
      // Until the backends of a new split are known, the endpoints are those of before.
      const isKnown = this.endpoints.some((e) => named.has(e.endpoint.backend ?? ""));
      this.routes = snapshot.routes.map(({ route, chain }) => ({
        route,
        chain,
        series: this.#routeSeries(snapshot.authority, route),
        split: route.split === undefined || !isKnown
          ? null
          : splitState(route.split, this.endpoints, (authority) => rings.get(authority) ?? null),
      }));
    }
    if (this.endpoints.length > 0) this.failfast = false;
    for (const one of [...this.waiting]) one.retry();
  }

  /** Of one backend of a split, or of all endpoints. */
  #ringOf(backend: string | null): HashRing {
    const members = backend === null
      ? this.endpoints
      : this.endpoints.filter((e) => e.endpoint.backend === backend);
    return new HashRing(members, this.#pendingOf(backend ?? ""));
  }

  #pendingOf(backend: string): PendingCount {
    let pending = this.#pending.get(backend);
    if (pending === undefined) this.#pending.set(backend, pending = { count: 0 });
    return pending;
  }

  #routeSeries(authority: string, route: Route): RouteSeries {
    const labels: Record<string, string> = { direction: "outbound", dst: authority };
    for (const [key, value] of Object.entries(route.labels)) labels[`rt_${key}`] = value;
    const key = JSON.stringify(labels);
    let series = this.#series.get(key);
    if (series === undefined) {
      series = new RouteSeries(this.reach.metrics, labels);
      this.#series.set(key, series);
    }
    return series;
  }

  #updateEndpoints(snapshot: OutboundSnapshot, renew: boolean): void {
    const ready: EndpointState[] = [];
    const keep = new Set<string>();
    for (const endpoint of snapshot.endpoints?.endpoints ?? []) {
      const key = endpointKey(endpoint);
      keep.add(key);
      let state = this.#byKey.get(key);
      if (state !== undefined && (renew || !sameReach(state, endpoint))) {
        state.client.close();
        state = undefined;
      }
      if (state === undefined) {
        state = new EndpointState(
          endpoint,
          endpoint.backend ?? snapshot.authority,
          snapshot.http2Only === true ? { protocol: "http2", ...this.reach } : this.reach,
          snapshot,
          snapshot.accrual,
          (status) => isFailure(status, []),
          this.#pendingOf(endpoint.backend ?? ""),
        );
        this.#byKey.set(key, state);
      }
      ready.push(state);
    }
    for (const [key, state] of this.#byKey) {
      if (keep.has(key)) continue;
      state.client.close();
      this.#byKey.delete(key);
    }
    this.endpoints = ready;
  }
}

/** Whether connections to the old description are connections to the new one. */
function sameReach(state: EndpointState, to: EndpointState["endpoint"]): boolean {
  const from = state.endpoint;
  return from.identity?.name === to.identity?.name &&
    from.identity?.serverName === to.identity?.serverName &&
    from.transportPort === to.transportPort &&
    from.hint === to.hint &&
    JSON.stringify(from.http2) === JSON.stringify(to.http2) &&
    JSON.stringify(from.labels) === JSON.stringify(to.labels);
}
