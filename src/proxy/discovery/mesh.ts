// Discovery over the control plane's streams. Every target and port is looked up once, shared by all who
// ask, and dropped some time after the last one left. The data plane reads snapshots and calls nothing
// here per request.

import type { Transport } from "@connectrpc/connect";
import type { Clock } from "../../core/clock.ts";
import type { FilterEngine } from "../../core/filter.ts";
import type { Logger } from "../../core/log.ts";
import type { SignatureCheck } from "../../core/signature.ts";
import { inCidr } from "../../model/policy.ts";
import type { ProxyConfig } from "../config.ts";
import { hasSuffix } from "../config/grammar.ts";
import { ownListener } from "../own-listener.ts";
import type { LookedUpTarget } from "./combine.ts";
import type {
  Discovery,
  InboundSnapshot,
  OutboundSnapshot,
  TargetKey,
  Watched,
} from "./discovery.ts";
import { EndpointSets } from "./endpoints.ts";
import { type FilterStatus, FilterStore } from "./filters.ts";
import { createModuleSource, type ModuleCache } from "./modules.ts";
import { resolveAddr, resolveAuthority, type ResolvedTarget } from "./names.ts";
import { OutsideTarget, type ResolveName } from "./outside.ts";
import { InboundPort } from "./port.ts";
import { ProfileOnly } from "./profile-only.ts";
import { fixedView } from "./shared.ts";
import type { StandardModules } from "./standard-filters.ts";
import type { StreamStats } from "./stream.ts";
import { type StreamMethod, Streams } from "./streams.ts";
import { OutboundTarget } from "./target.ts";

/** Targets that are known at once; each costs up to three streams. */
export const MAX_TARGETS = 10_000;
/** Profiles of names that other proxies say, which are looked up at once. */
export const MAX_PROFILES = 200;
/** Ports that are watched at once, the configured ones not counted. */
export const MAX_PORTS = 1000;

export interface MeshDiscoveryOptions {
  readonly config: Pick<
    ProxyConfig,
    "inbound" | "outbound" | "destination" | "policy" | "clusterDomain" | "namespace"
  >;
  /** To the destination service, which also serves the filter registry. */
  readonly destination: Transport;
  readonly policy: Transport;
  readonly engine: FilterEngine;
  /** Null: modules need no signature. */
  readonly signatures?: SignatureCheck | null;
  /** Modules that came with the proxy; none unless set. */
  readonly standard?: StandardModules;
  /** Null: modules are fetched anew by each process. */
  readonly moduleCache: ModuleCache | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** DNS, for names outside the mesh; absent or null: they do not exist. */
  readonly resolve?: ResolveName | null;
  /** `MAX_TARGETS` unless set. */
  readonly maxTargets?: number;
}

type OutsideName = Extract<ResolvedTarget, { readonly kind: "outside" }>;

/** Discovery with what the process around it asks. */
export interface MeshDiscovery extends Discovery {
  /** Settles when each configured port has its policy or a first failure. */
  portsAnswered(): Promise<void>;
  filterStatus(): readonly FilterStatus[];
  stats(): DiscoveryStats;
  /** Ends every stream. */
  close(): void;
}

export interface DiscoveryStats {
  readonly targets: number;
  readonly ports: number;
  readonly streams: Readonly<Record<StreamMethod, StreamStats>>;
}

/** Begins to watch the configured ports. */
export function createMeshDiscovery(o: MeshDiscoveryOptions): MeshDiscovery {
  const { config, clock, log, maxTargets = MAX_TARGETS, resolve = null } = o;
  const streams = new Streams(o);
  const filters = new FilterStore({
    ...o,
    modules: createModuleSource({ transport: o.destination, cache: o.moduleCache, log }),
  });
  const endpoints = new EndpointSets(streams);
  const isOwn = ownListener([config.inbound.listen, ...config.outbound.listen], config.inbound.ips);
  const targets = new Cache<string, OutboundTarget | OutsideTarget>(maxTargets);
  const profiles = new Cache<string, ProfileOnly>(MAX_PROFILES);
  const ports = new Cache<number, InboundPort>(MAX_PORTS);
  const fixedPorts = new Map(config.inbound.ports.map((port) => [
    port,
    new InboundPort(port, config, streams, filters, null),
  ]));
  const context = {
    streams,
    endpoints,
    filters,
    profileInitialTimeoutMs: config.destination.profileInitialTimeoutMs,
    hasProfile: (target: LookedUpTarget) => hasProfile(target, config.destination),
  };

  const profileOf = (name: string): Watched<OutboundSnapshot> => {
    const target = resolveAuthority(name, config);
    if (target.kind !== "name" || target.key !== name || !context.hasProfile(target)) {
      return fixedView<OutboundSnapshot>(null, `${name} has no profile here`);
    }
    const entry = profiles.get(target.key, () =>
      new ProfileOnly(target, streams, {
        clock,
        idleMs: config.inbound.discoveryIdleMs,
        drop: () => profiles.drop(target.key),
      }));
    if (entry !== null) return entry.shared.open();
    const why = `The profile of ${name} is not looked up: ${MAX_PROFILES} others are in use`;
    return fixedView<OutboundSnapshot>(null, why);
  };

  const outside = ({ name, key, why }: OutsideName): Watched<OutboundSnapshot> => {
    if (name === null || resolve === null) return fixedView(unknownTarget(key), why);
    const { host, port } = name;
    // No authority looks like this, so that it is nobody else's key.
    const ownKey = `${host} ${port}`;
    const entry = targets.get(ownKey, () =>
      new OutsideTarget(host, port, {
        clock,
        random: o.random,
        resolve,
        open: (original) => discovery.outbound({ original }),
        nowhere: unknownTarget(`${host}:${port}`),
      }, {
        clock,
        idleMs: config.outbound.discoveryIdleMs,
        drop: () => targets.drop(ownKey),
      }));
    return entry?.shared.open() ?? fixedView<OutboundSnapshot>(null, tooMany(ownKey));
  };
  const tooMany = (target: string): string => {
    log.warn("Too many outbound targets", { target, bound: maxTargets });
    return `${target} is not looked up: ${maxTargets} other targets are in use`;
  };

  const discovery: MeshDiscovery = {
    outbound(key: TargetKey): Watched<OutboundSnapshot> {
      if ("profile" in key) return profileOf(key.profile);
      const target = "original" in key
        ? resolveAddr(key.original)
        : resolveAuthority(key.authority, config);
      if (target.kind === "outside") return outside(target);
      if (target.kind === "addr" && isOwn(target.addr)) {
        const why = `${target.key} is this proxy itself`;
        return fixedView(unknownTarget(target.key), why);
      }
      const entry = targets.get(target.key, () =>
        new OutboundTarget(target, context, {
          clock,
          idleMs: config.outbound.discoveryIdleMs,
          drop: () => targets.drop(target.key),
        }));
      return entry?.shared.open() ?? fixedView<OutboundSnapshot>(null, tooMany(target.key));
    },

    inbound(port: number): Watched<InboundSnapshot> {
      const fixed = fixedPorts.get(port);
      if (fixed !== undefined) return fixed.shared.open();
      const entry = ports.get(port, () =>
        new InboundPort(port, config, streams, filters, {
          clock,
          idleMs: config.inbound.discoveryIdleMs,
          drop: () => ports.drop(port),
        }));
      if (entry !== null) return entry.shared.open();
      log.warn("Too many inbound ports", { port, bound: MAX_PORTS });
      return fixedView<InboundSnapshot>(
        null,
        `Port ${port} is over the bound of ${MAX_PORTS} ports`,
      );
    },

    portsAnswered: async () => {
      await Promise.all([...fixedPorts.values()].map((p) => p.answered));
    },
    filterStatus: () => filters.status(),
    stats: () => ({
      targets: targets.size,
      ports: ports.size + fixedPorts.size,
      streams: streams.stats,
    }),
    close() {
      targets.clear();
      profiles.clear();
      ports.clear();
      for (const port of fixedPorts.values()) port.close();
      filters.close();
    },
  };
  return discovery;
}

/** Entries with a bound: past it the ones that nobody reads go first. */
class Cache<K, E extends { readonly shared: { readonly idle: boolean }; close(): void }> {
  readonly #max: number;
  readonly #entries = new Map<K, E>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Null: full of entries in use. */
  get(key: K, make: () => E): E | null {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    if (this.#entries.size >= this.#max && !this.#evictIdle()) return null;
    const made = make();
    this.#entries.set(key, made);
    return made;
  }

  drop(key: K): void {
    this.#entries.get(key)?.close();
    this.#entries.delete(key);
  }

  clear(): void {
    for (const key of [...this.#entries.keys()]) this.drop(key);
  }

  #evictIdle(): boolean {
    for (const [key, entry] of this.#entries) {
      if (!entry.shared.idle) continue;
      this.drop(key);
      return true;
    }
    return false;
  }
}

function hasProfile(
  target: LookedUpTarget,
  { profileNetworks, profileSuffixes }: ProxyConfig["destination"],
): boolean {
  return target.kind === "addr"
    ? profileNetworks.some((cidr) => inCidr(target.addr.ip, cidr))
    : hasSuffix(profileSuffixes, target.host);
}

function unknownTarget(authority: string): OutboundSnapshot {
  return {
    authority,
    exists: false,
    opaque: false,
    routes: [],
    budget: { ratio: 0, minPerSecond: 0, ttlMs: 10_000 },
    endpoints: { exists: false, endpoints: [] },
    defaultRttMs: 30,
    decayMs: 10_000,
    accrual: null,
  };
}
