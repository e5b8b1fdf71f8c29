// An outbound proxy in memory: the real accept, stack, codec and clients over a `MemoryDriver`, with a
// discovery whose snapshots the test sets.

import type { SocketAddr } from "../../src/core/addr.ts";
import { CONTINUE, type FilterChain, HOOK_REQUEST, NO_FILTERS } from "../../src/core/filter.ts";
import type { Endpoint, EndpointSet } from "../../src/model/endpoint.ts";
import { DEFAULT_RETRY_BUDGET, type Route } from "../../src/model/route.ts";
import type {
  Discovery,
  OutboundSnapshot,
  TargetKey,
  Watched,
} from "../../src/proxy/discovery/discovery.ts";
import { ProxyMetrics } from "../../src/proxy/metrics.ts";
import { outboundAccept } from "../../src/proxy/outbound/accept.ts";
import { CalloutClient } from "../../src/proxy/outbound/callouts.ts";
import { Targets } from "../../src/proxy/outbound/targets.ts";
import { Draining, MAX_HEAD_BYTES, reachOptions, serverOptions } from "../../src/proxy/serve.ts";
import { SILENT } from "../../src/core/log.ts";
import { MemoryDriver, type TestPeer } from "./memory-driver.ts";
import { seeded } from "./random.ts";

export const A: SocketAddr = { ip: "127.77.0.2", port: 8080 };
export const B: SocketAddr = { ip: "127.77.0.3", port: 8080 };

export function endpoint(addr: SocketAddr, more: Partial<Endpoint> = {}): Endpoint {
  return {
    addr,
    weight: 10_000,
    labels: {},
    identity: null,
    transportPort: 0,
    hint: "none",
    ...more,
  };
}

export function route(more: Partial<Route> = {}): Route {
  return {
    name: "default",
    match: { kind: "path-prefix", prefix: "/" },
    responseClasses: [],
    labels: { route: "default" },
    retry: null,
    timeoutMs: 0,
    filters: [],
    ...more,
  };
}

/** `chain` with a filter before it that sets time limits, as the standard time-out filter does. */
export function limiting(
  limits: { headMs?: number; requestMs?: number; responseMs?: number; idleMs?: number },
  chain: FilterChain = NO_FILTERS,
): FilterChain {
  return {
    ...chain,
    hooks: chain.hooks | HOOK_REQUEST,
    requestHead: (x) => {
      x.timeoutMs = limits.headMs ?? 0;
      x.exchangeLimitMs = limits.requestMs ?? 0;
      x.responseLimitMs = limits.responseMs ?? 0;
      x.idleLimitMs = limits.idleMs ?? 0;
      return (chain.hooks & HOOK_REQUEST) === 0 ? CONTINUE : chain.requestHead(x);
    },
  };
}

export function snapshot(
  endpoints: EndpointSet | null,
  routes: readonly { route: Route; chain: FilterChain }[] = [{ route: route(), chain: NO_FILTERS }],
): OutboundSnapshot {
  return {
    authority: "web.shop.svc.cluster.local:80",
    exists: true,
    opaque: false,
    routes,
    budget: DEFAULT_RETRY_BUDGET,
    endpoints,
    defaultRttMs: 30,
    decayMs: 10_000,
    accrual: null,
  };
}

/** A discovery in the test's hands. */
export class FakeDiscovery implements Discovery {
  readonly asked: TargetKey[] = [];
  readonly #listeners = new Set<(value: OutboundSnapshot) => void>();
  value: OutboundSnapshot | null;
  why = "";
  released = 0;

  constructor(value: OutboundSnapshot | null) {
    this.value = value;
  }

  set(value: OutboundSnapshot): void {
    this.value = value;
    for (const listener of this.#listeners) listener(value);
  }

  outbound(target: TargetKey): Watched<OutboundSnapshot> {
    this.asked.push(target);
    // deno-lint-ignore no-this-alias -- the watched value reads the newest one
    const self = this;
    return {
      get value() {
        return self.value;
      },
      get why() {
        return self.why;
      },
      subscribe(listener) {
        self.#listeners.add(listener);
        return () => void self.#listeners.delete(listener);
      },
      release: () => void this.released++,
    };
  }

  inbound(): never {
    throw new Error("not used here");
  }
}

export interface OutboundFixture {
  readonly driver: MemoryDriver;
  readonly metrics: ProxyMetrics;
  readonly discovery: FakeDiscovery;
  readonly targets: Targets;
  readonly draining: Draining;
  readonly callouts: CalloutClient;
  /** A new connection of the application. */
  client(): TestPeer;
}

export function outboundFixture(
  value: OutboundSnapshot | null,
  more: {
    maxInFlight?: number;
    queueCapacity?: number;
    failfastMs?: number;
    hostnameLabels?: boolean;
  } = {},
): OutboundFixture {
  const driver = new MemoryDriver();
  const metrics = new ProxyMetrics();
  const discovery = new FakeDiscovery(value);
  const draining = new Draining();
  const random = seeded(1);
  const callouts = new CalloutClient(driver);
  const targets = new Targets(
    discovery,
    reachOptions({
      driver,
      metrics,
      sourceIp: null,
      podIps: ["127.77.0.1"],
      connectMs: 1000,
      poolIdleMs: 3000,
      maxIdle: 100,
    }),
    {
      failfastMs: 3000,
      queueCapacity: 10,
      replayMaxBytes: 64 * 1024,
      maxInFlight: 1000,
      inFlight: { count: 0 },
      random,
      callouts,
      ...more,
    },
    5000,
  );
  callouts.targets = targets;
  const accept = outboundAccept({
    driver,
    metrics,
    targets,
    fixed: null,
    server: serverOptions({ metrics, log: SILENT, draining, tellMesh: () => true }),
  });
  return {
    driver,
    metrics,
    discovery,
    targets,
    draining,
    callouts,
    client: () => driver.accept(accept),
  };
}

export { MAX_HEAD_BYTES };
