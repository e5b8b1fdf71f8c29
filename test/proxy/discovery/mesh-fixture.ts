// Discovery over a control plane that a test plays: the set-up and the messages that tests send.

import * as assert from "uvu/assert";
import { clientPolicyToWire } from "../../../src/api/client-policy.ts";
import { profileToWire } from "../../../src/api/profile.ts";
import type { FilterEngine } from "../../../src/core/filter.ts";
import { type Logger, SILENT } from "../../../src/core/log.ts";
import type { Endpoint } from "../../../src/model/endpoint.ts";
import type { ClientPolicy, Profile } from "../../../src/model/profile.ts";
import { DEFAULT_RETRY_BUDGET, type Route } from "../../../src/model/route.ts";
import type { ProxyConfig } from "../../../src/proxy/config.ts";
import type { OutboundSnapshot, Watched } from "../../../src/proxy/discovery/discovery.ts";
import { createMeshDiscovery } from "../../../src/proxy/discovery/mesh.ts";
import type { ResolveName } from "../../../src/proxy/discovery/outside.ts";
import type { StandardModules } from "../../../src/proxy/discovery/standard-filters.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import { FakeControl } from "./fake-control.ts";
import { FakeEngine } from "./fake-engine.ts";

export const WEB = "web.shop.svc.cluster.local:80";
export const NO_LIMITS = { initialTimeoutMs: null, idleTimeoutMs: null, lifetimeMs: null };
export const SVC = {
  host: "127.0.0.1",
  port: 8086,
  identity: null,
  backoff: { minMs: 100, maxMs: 10_000, jitter: 0 },
};

export type Overrides = {
  log?: Logger;
  maxTargets?: number;
  limits?: { [name in keyof typeof NO_LIMITS]: number };
  inbound?: Partial<ProxyConfig["inbound"]>;
  destination?: Partial<ProxyConfig["destination"]>;
  /** A real engine instead of the made-up one. */
  filterEngine?: FilterEngine;
  standard?: StandardModules;
  resolve?: ResolveName;
};

export function setUp(over: Overrides = {}) {
  const control = new FakeControl();
  const clock = new FakeClock();
  const engine = new FakeEngine();
  const svc = { ...SVC, ...NO_LIMITS, ...over.limits };
  const config = {
    inbound: {
      listen: { ip: "127.0.0.1", port: 4143 },
      ips: ["127.77.1.2"],
      ports: [8080],
      defaultPolicy: "all-unauthenticated",
      opaquePorts: { ranges: [[3306, 3306]] },
      detectTimeoutMs: 10_000,
      discoveryIdleMs: 90_000,
      ...over.inbound,
    },
    outbound: { listen: [{ ip: "127.0.0.1", port: 4140 }], discoveryIdleMs: 5000 },
    destination: {
      svc,
      context: '{"ns":"shop"}',
      profileInitialTimeoutMs: 500,
      profileSuffixes: ["svc.cluster.local"],
      profileNetworks: ["10.0.0.0/8"],
      ...over.destination,
    },
    policy: { svc, workload: '{"ns":"shop","pod":"front-1"}', clusterNetworks: ["10.0.0.0/8"] },
    clusterDomain: "cluster.local",
    namespace: "shop",
  } as unknown as ProxyConfig;
  const mesh = createMeshDiscovery({
    config,
    destination: control.transport,
    policy: control.transport,
    engine: over.filterEngine ?? engine,
    ...(over.standard === undefined ? {} : { standard: over.standard }),
    ...(over.resolve === undefined ? {} : { resolve: over.resolve }),
    moduleCache: null,
    clock,
    random: () => 0.5,
    log: over.log ?? SILENT,
    ...(over.maxTargets === undefined ? {} : { maxTargets: over.maxTargets }),
  });
  /** After the test: nothing may be left that would keep a process alive. */
  const done = async () => {
    mesh.close();
    await settle();
    assert.is(clock.pending, 0, "timers left");
    const { streams } = mesh.stats();
    for (const [name, { kept }] of Object.entries(streams)) {
      assert.is(kept, 0, `${name} streams left`);
    }
  };
  return { control, clock, engine, mesh, done };
}

export const endpoint = (ip: string, port = 8080, labels = {}): Endpoint => ({
  addr: { ip, port },
  weight: 10_000,
  labels,
  identity: null,
  transportPort: 0,
  hint: "none",
});

export const route = (name: string, more: Partial<Route> = {}): Route => ({
  name,
  match: { kind: "path-prefix", prefix: "/" },
  responseClasses: [],
  labels: {},
  retry: null,
  timeoutMs: 0,
  filters: [],
  ...more,
});

export const policy = (more: Partial<ClientPolicy> = {}): ClientPolicy => ({
  origin: { group: "core", kind: "Service", namespace: "shop", name: "web", port: 80 },
  protocol: "detect",
  routes: [route("http")],
  destination: WEB,
  forward: null,
  defaultRttMs: 30,
  decayMs: 10_000,
  accrual: null,
  ...more,
});

export const profile = (more: Partial<Profile> = {}): Profile => ({
  fullyQualifiedName: "web.shop.svc.cluster.local",
  opaque: false,
  routes: [],
  budget: DEFAULT_RETRY_BUDGET,
  overrides: [],
  endpoint: null,
  ...more,
});

export const wirePolicy = (more: Partial<ClientPolicy> = {}) =>
  clientPolicyToWire(policy(more), 10_000);
export const wireProfile = (more: Partial<Profile> = {}) => profileToWire(profile(more));
export const ips = (w: Watched<OutboundSnapshot>) =>
  w.value?.endpoints?.endpoints.map((e) => e.addr.ip) ?? null;

/** Lets digests be computed, outside the event loop, until what the test waits for is there. */
export async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 5000 && !holds(); i++) await settle();
}

/** A target whose profile and policy are answered, with the endpoint stream open. */
export async function ready(s: ReturnType<typeof setUp>, authority = "web") {
  const watched = s.mesh.outbound({ authority });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).send(wirePolicy());
  await settle();
  return watched;
}
