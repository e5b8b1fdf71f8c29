// A destination in use: its newest snapshot turned into what requests need – endpoints with their
// load, routes with their metrics, the retry budget. Target rate; requests only read it.

import { MeshError } from "../../core/errors.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import type { FilterChain } from "../../core/filter.ts";
import type { HeaderEdit } from "../../core/head.ts";
import { endpointKey } from "../../model/endpoint.ts";
import { isFailure, type Route } from "../../model/route.ts";
import type { OutboundSnapshot, RouteSnapshot, Watched } from "../discovery/discovery.ts";
import { canonicalEdit } from "../http/canonical.ts";
import type { BackendSeries } from "../metrics/backends.ts";
import type { BalancerKind, BalancerSeries, UpdateOp } from "../metrics/balancers.ts";
import type { OutboundRouteSeries } from "../metrics/outbound-routes.ts";
import type { RouteSeries } from "../metrics/routes.ts";
import { ConnectQueue } from "./connect-queue.ts";
import { type EndpointOwner, EndpointState, type ReachOptions } from "./endpoint.ts";
import { KeyReader } from "./hash-key.ts";
import { HashRing } from "./hash-ring.ts";
import { HashSeries } from "./hash-series.ts";
import type { PendingCount } from "./peak-ewma.ts";
import { RetryTokens } from "./retry-budget.ts";
import { type SplitState, splitState } from "./split.ts";
import { type SeriesOptions, TargetSeries } from "./target-series.ts";

/** A route of the newest snapshot. */
export interface RouteState {
  readonly route: Route;
  readonly chain: FilterChain;
  readonly series: RouteSeries;
  /** Of its policy; null: a ServiceProfile decides. */
  readonly policy: OutboundRouteSeries | null;
  /** Of the target's only backend, where there is no split. */
  readonly backend: BackendSeries | null;
  readonly balancer: BalancerSeries;
  /** Null: to any endpoint of the target. */
  readonly split: SplitState | null;
  /** One for each backend of the split, where those have filters of their own; else none. */
  readonly variants: readonly RouteState[];
}

/** Whoever waits for the target to become usable. */
export interface Waiting {
  /** The snapshot changed: look again. */
  retry(): void;
}

/** What is configured of waiting, and of series. */
export interface TargetOptions extends SeriesOptions {
  /** Requests that wait for a connection to one backend. */
  readonly queueCapacity?: number;
}

export class Target implements EndpointOwner {
  readonly watched: Watched<OutboundSnapshot>;
  readonly reach: ReachOptions;
  snapshot: OutboundSnapshot | null = null;
  routes: readonly RouteState[] = [];
  /** Endpoints that may be picked. Replaced, never changed in place. */
  endpoints: readonly EndpointState[] = [];
  /** Of all endpoints, where requests with the same key go to the same one; null: they need not. */
  ring: HashRing | null = null;
  keys: KeyReader | null = null;
  /** Tells meshed endpoints which service a request is for; null: no ServiceProfile decides. */
  canonical: HeaderEdit | null = null;
  hashes: HashSeries | null = null;
  budget: RetryTokens | null = null;
  readonly waiting = new Set<Waiting>();
  /** Set by the balancer. */
  replay: ((x: Exchange, reply: Reply, from: EndpointState) => Sink | null) | null = null;
  /** Requests and tunnels in progress. */
  active = 0;
  lastUsedMs = 0;
  readonly #byKey = new Map<string, EndpointState>();
  /** What is pending at all endpoints of a backend; the empty name is the target's own. */
  readonly #pending = new Map<string, PendingCount>();
  readonly #end: () => void;
  readonly #o: TargetOptions;
  /** Who waits for a connection, by backend; the empty name is the target's own. */
  readonly #queues = new Map<string, ConnectQueue>();
  readonly #series: TargetSeries;
  readonly #updates = new Map<string | null, Record<UpdateOp, number>>();
  #isFailfast = false;

  constructor(
    watched: Watched<OutboundSnapshot>,
    reach: ReachOptions,
    options: TargetOptions = reach,
  ) {
    this.#o = options;
    this.#series = new TargetSeries(options);
    this.watched = watched;
    this.reach = reach;
    this.lastUsedMs = reach.driver.now;
    this.#end = watched.subscribe((snapshot) => this.#update(snapshot));
    if (watched.value !== null) this.#update(watched.value);
  }

  /** No endpoint became ready in time: requests fail at once until one does. */
  get failfast(): boolean {
    return this.#isFailfast;
  }

  set failfast(isShut: boolean) {
    if (isShut === this.#isFailfast) return;
    this.#isFailfast = isShut;
    this.#series.gate(isShut, this.reach.driver.now);
  }

  get queues(): Iterable<ConnectQueue> {
    return this.#queues.values();
  }

  /** Where requests to a backend wait for a connection; null: to the target's only one. */
  queueOf(backend: string | null): ConnectQueue {
    let queue = this.#queues.get(backend ?? "");
    if (queue === undefined) {
      const { failfastMs = 0, queueCapacity = 0 } = this.#o;
      const { driver } = this.reach;
      queue = new ConnectQueue({
        driver,
        failfastMs,
        capacity: queueCapacity,
        trouble: () =>
          `No endpoint of ${
            backend ?? this.snapshot?.authority ?? "the target"
          } can be connected to`,
        members: () =>
          backend === null
            ? this.endpoints
            : this.endpoints.filter((e) => e.endpoint.backend === backend),
        gate: (isShut) => this.#series.gateOf(backend, isShut, driver.now),
      });
      this.#queues.set(backend ?? "", queue);
    }
    return queue;
  }

  /** The balancer of connections to the target, for metrics. */
  connections(kind: BalancerKind = "tcp"): BalancerSeries | null {
    const { snapshot } = this;
    if (snapshot === null) return null;
    return this.#series.balancer(snapshot, kind, null, this.reach.driver.now);
  }

  /** A request or connection gave up waiting. */
  gaveUp(kind: BalancerKind, ms: number): void {
    const { snapshot } = this;
    if (snapshot === null) return;
    const backend = this.routes.at(-1)?.split?.backends[0]?.balancer;
    const series = kind === "http" && backend !== undefined
      ? backend
      : this.#series.balancer(snapshot, kind, null, this.reach.driver.now);
    series?.waited(ms);
  }

  /** Writes what is true of its balancers now, for who scrapes. */
  observe(): void {
    const { now } = this.reach.driver;
    this.#series.observe((backend) => {
      let ready = 0;
      let all = 0;
      for (const e of this.endpoints) {
        if (backend !== null && e.endpoint.backend !== backend) continue;
        all++;
        if (!e.isEjected(now) && !e.isAway(now)) ready++;
      }
      const updates = this.#updatesOf(backend);
      const waiting = this.waiting.size + (this.#queues.get(backend ?? "")?.size ?? 0);
      return { ready, pending: all - ready, waiting, updates };
    });
  }

  #updatesOf(backend: string | null): Record<UpdateOp, number> {
    let updates = this.#updates.get(backend);
    if (updates === undefined) {
      updates = { Reset: 0, Add: 0, Remove: 0, DoesNotExist: 0 };
      this.#updates.set(backend, updates);
    }
    return updates;
  }

  #updated(op: UpdateOp, backend: string | undefined): void {
    this.#updatesOf(null)[op]++;
    if (backend !== undefined) this.#updatesOf(backend)[op]++;
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
    // Nothing can become ready where no route leads anywhere: its filters answer, or the route fails.
    if (this.endpoints.length > 0 || leadNowhere(snapshot.routes)) return null;
    return new MeshError("failfast", `No endpoint of ${snapshot.authority} is ready`);
  }

  /** Ends streams and idle connections; those in use finish. */
  release(): void {
    this.#end();
    this.#series.observe(null);
    for (const queue of this.queues) queue.close();
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
    const canonical = snapshot.canonical ?? null;
    if (canonical !== (this.canonical?.value ?? null)) {
      this.canonical = canonical === null ? null : canonicalEdit(canonical);
    }
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
    if (before?.routes !== snapshot.routes || isSplitNew || !sameNames(before, snapshot)) {
      const rings = new Map<string, HashRing | null>();
      for (const authority of hash === null ? [] : named) {
        rings.set(authority, this.#ringOf(authority));
      }
      // Until the backends of a new split are known, the endpoints are those of before.
      const isKnown = leadNowhere(snapshot.routes) ||
        this.endpoints.some((e) => named.has(e.endpoint.backend ?? ""));
      const states: RouteState[] = [];
      for (const { route, chain } of snapshot.routes) {
        states.push({
          route,
          chain,
          variants: states.slice(states.length - (route.variants ?? 0)),
          series: this.#series.route(snapshot, route),
          policy: this.#series.policy(snapshot, route),
          backend: this.#series.backend(snapshot, route, null),
          balancer: this.#series.balancer(snapshot, "http", null, this.reach.driver.now),
          split: route.split === undefined || !isKnown ? null : splitState(
            route.split,
            this.endpoints,
            (of) => ({
              ring: rings.get(of.authority) ?? null,
              queue: this.queueOf(of.authority),
              series: this.#series.backend(snapshot, route, of),
              balancer: this.#series.balancer(snapshot, "http", of, this.reach.driver.now),
            }),
          ),
        });
      }
      this.routes = states;
    }
    if (this.endpoints.length > 0) this.failfast = false;
    for (const one of [...this.waiting]) one.retry();
    if (endpoints !== this.endpoints) { for (const queue of this.queues) queue.changed(); }
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
          this,
        );
        this.#byKey.set(key, state);
        this.#updated("Add", endpoint.backend);
      }
      ready.push(state);
    }
    for (const [key, state] of this.#byKey) {
      if (keep.has(key)) continue;
      state.client.close();
      this.#byKey.delete(key);
      this.#updated("Remove", state.endpoint.backend);
    }
    if (snapshot.endpoints?.exists === false) this.#updated("DoesNotExist", undefined);
    this.endpoints = ready;
  }
}

/** Whether metrics call it what they called it before. */
function sameNames(a: OutboundSnapshot | null, b: OutboundSnapshot): boolean {
  return a !== null && a.authority === b.authority &&
    JSON.stringify([a.parent, a.backend]) === JSON.stringify([b.parent, b.backend]);
}

/** Whether connections to the old description are connections to the new one. */
function sameReach(state: EndpointState, to: EndpointState["endpoint"]): boolean {
  const from = state.endpoint;
  return from.identity?.name === to.identity?.name &&
    from.identity?.serverName === to.identity?.serverName &&
    from.transportPort === to.transportPort &&
    from.hint === to.hint &&
    from.authority === to.authority &&
    JSON.stringify(from.http2) === JSON.stringify(to.http2) &&
    JSON.stringify(from.labels) === JSON.stringify(to.labels);
}

/** Whether each route is split, over backends that are none. */
function leadNowhere(routes: readonly RouteSnapshot[]): boolean {
  return routes.length > 0 &&
    routes.every(({ route }) => route.split?.backends.every((b) => b.authority === "") ?? false);
}
