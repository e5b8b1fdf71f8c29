// ServiceProfiles by the names that other proxies say in `l5d-dst-canonical`: bounded, looked up when a
// name is met first, let go when it was not met for a while. One for all ports and connections of a
// thread. Requests never wait for one.

import type { Driver } from "../../core/driver.ts";
import { createTimer } from "../../core/timers.ts";
import type { ProxyConfig } from "../config.ts";
import { hasSuffix } from "../config/grammar.ts";
import type {
  Discovery,
  OutboundSnapshot,
  RouteSnapshot,
  Watched,
} from "../discovery/discovery.ts";
import { resolveAuthority } from "../discovery/names.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { RouteSeries } from "../metrics/routes.ts";

/** Names at once: the Services that select a pod are few, and each costs a stream. */
export const MAX_PROFILES = 100;
/** A name that led to no routes makes room for another only then, so that names cannot cause a storm. */
const SETTLED_MS = 10_000;

export interface ProfilesOptions {
  readonly driver: Driver;
  readonly metrics: ProxyMetrics;
  readonly discovery: Discovery;
  readonly config: Pick<ProxyConfig, "destination" | "clusterDomain" | "namespace">;
  readonly idleMs: number;
  /** `MAX_PROFILES` unless set. */
  readonly max?: number;
}

/** A route of a profile, with what counts its requests. */
export interface ProfileRoute extends RouteSnapshot {
  readonly series: RouteSeries;
}

/** What is known of one name. */
export class ServiceProfile {
  /** Empty while it is not known, and where there is nothing to count. */
  routes: readonly ProfileRoute[] = [];
  /** False: it was let go, and is to be asked for again. */
  live = true;
  lastUsedMs: number;
  readonly madeMs: number;
  readonly #watched: Watched<OutboundSnapshot> | null;

  constructor(watched: Watched<OutboundSnapshot> | null, metrics: ProxyMetrics, nowMs: number) {
    this.#watched = watched;
    this.madeMs = this.lastUsedMs = nowMs;
    if (watched === null) return;
    const update = ({ authority, routes }: OutboundSnapshot) => {
      this.routes = routes.map(({ route, chain }) => {
        const labels: Record<string, string> = { direction: "inbound", dst: authority };
        for (const [key, value] of Object.entries(route.labels)) labels[`rt_${key}`] = value;
        return { route, chain, series: new RouteSeries(metrics, labels, false) };
      });
    };
    watched.subscribe(update);
    if (watched.value !== null) update(watched.value);
  }

  release(): void {
    this.live = false;
    this.#watched?.release();
  }
}

/** All profiles in use. */
export class Profiles {
  readonly #o: ProfilesOptions;
  readonly #byName = new Map<string, ServiceProfile>();
  /** Stands for every name that is none of a service here. */
  readonly #outside: ServiceProfile;
  readonly #sweep = createTimer(() => this.#letGo());

  constructor(o: ProfilesOptions) {
    this.#o = o;
    this.#outside = new ServiceProfile(null, o.metrics, 0);
  }

  get size(): number {
    return this.#byName.size;
  }

  /** The profile of a name as it was received; null: too many others are in use, which is counted. */
  of(name: string): ServiceProfile | null {
    const { driver, metrics, discovery, config, max = MAX_PROFILES } = this.#o;
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const target = resolveAuthority(name, config);
    // Canonical means as it is written: other spellings of a name are nobody's.
    if (
      target.kind !== "name" || target.key !== name ||
      !hasSuffix(config.destination.profileSuffixes, target.host)
    ) return this.#outside;
    const { now } = driver;
    if (this.#byName.size >= max && !this.#makeRoom(now)) {
      metrics.count(metrics.inboundProfilesRefused, {});
      return null;
    }
    const profile = new ServiceProfile(discovery.outbound({ profile: name }), metrics, now);
    this.#byName.set(name, profile);
    if (this.#byName.size === 1) driver.timers.arm(this.#sweep, now + this.#o.idleMs);
    return profile;
  }

  release(): void {
    this.#o.driver.timers.cancel(this.#sweep);
    for (const profile of this.#byName.values()) profile.release();
    this.#byName.clear();
  }

  #makeRoom(nowMs: number): boolean {
    for (const [name, profile] of this.#byName) {
      if (profile.routes.length > 0 || nowMs - profile.madeMs < SETTLED_MS) continue;
      profile.release();
      this.#byName.delete(name);
      return true;
    }
    return false;
  }

  #letGo(): void {
    const { driver, idleMs } = this.#o;
    for (const [name, profile] of this.#byName) {
      if (driver.now - profile.lastUsedMs < idleMs) continue;
      profile.release();
      this.#byName.delete(name);
    }
    if (this.#byName.size > 0) driver.timers.arm(this.#sweep, driver.now + idleMs);
  }
}
