// An inbound proxy in memory: the real accept, stack, codec and clients over a `MemoryDriver`, with one
// port whose policy the test sets.

import type { PeerTls } from "../../src/core/driver.ts";
import { type FilterChain, NO_FILTERS } from "../../src/core/filter.ts";
import { SILENT } from "../../src/core/log.ts";
import type { ServerPolicy } from "../../src/model/policy.ts";
import type { Origin } from "../../src/model/profile.ts";
import type { Route } from "../../src/model/route.ts";
import type { InboundSnapshot, Watched } from "../../src/proxy/discovery/discovery.ts";
import { exposition } from "../../src/proxy/exposition.ts";
import { Inbound, type InboundAcceptOptions } from "../../src/proxy/inbound/accept.ts";
import { ProxyMetrics } from "../../src/proxy/metrics.ts";
import { Draining, MAX_HEAD_BYTES, serverOptions } from "../../src/proxy/serve.ts";
import { MemoryDriver, type TestPeer } from "./memory-driver.ts";

export const SERVER: Origin = {
  group: "policy.linkerd.io",
  kind: "server",
  namespace: "shop",
  name: "catalogue-http",
  port: 0,
};

/** A port that admits clients of these names, with these routes. */
export function inboundSnapshot(
  routes: readonly { readonly route: Route; readonly chain: FilterChain }[],
  more: Partial<ServerPolicy> = {},
  names: readonly string[] = ["web.shop"],
): InboundSnapshot {
  return {
    policy: {
      origin: SERVER,
      protocol: "http1",
      detectMs: 10_000,
      authorizations: [{
        origin: { ...SERVER, kind: "authorizationpolicy", name: "catalogue-web" },
        networks: [{ cidr: "0.0.0.0/0", except: [] }],
        authentication: { kind: "identities", names, suffixes: [] },
      }],
      routes: routes.map(({ route }) => route),
      filters: [],
      ...more,
    },
    routes,
  };
}

/** A chain whose filter number `at` (from 1 on) answers requests for which `denies` says so. */
export function answering(
  at: number,
  status: number,
  denies: (path: string) => boolean,
  body = "no\n",
): FilterChain {
  return {
    ...NO_FILTERS,
    hooks: 1,
    requestHead(x) {
      if (!denies(x.request.path)) return 0;
      x.filtersSeen = at;
      x.local = { status, headers: [], body };
      return 1;
    },
  };
}

/** The proxy. `connect` is a new connection to port 8080 by a client with mesh TLS, or in plain text. */
export function inboundFixture(value: InboundSnapshot, more: Partial<InboundAcceptOptions> = {}) {
  const driver = new MemoryDriver();
  const metrics = new ProxyMetrics(undefined, () => 1_700_000_000_000);
  const listeners = new Set<(value: InboundSnapshot) => void>();
  const watched = {
    value,
    why: "",
    subscribe(listener: (value: InboundSnapshot) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    release() {},
  } satisfies Watched<InboundSnapshot>;
  const inbound = new Inbound({
    driver,
    metrics,
    discovery: {
      inbound: () => watched,
      outbound: () => {
        throw new Error("not used here");
      },
    },
    sourceIp: "127.77.0.9",
    application: (port) => ({ ip: "127.77.0.9", port }),
    connectMs: 100,
    poolIdleMs: 3000,
    maxIdle: 10,
    maxInFlight: 100,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    server: serverOptions({
      metrics,
      log: SILENT,
      draining: new Draining(),
      tellMesh: () => true,
    }),
    fixedPort: 8080,
    log: SILENT,
    ...more,
  });
  const connect = (tls: PeerTls | null): TestPeer =>
    driver.accept(inbound.accept, {
      local: { ip: "127.77.0.9", port: 4143 },
      remote: { ip: "127.77.0.2", port: 50001 },
      tls,
    });
  return {
    driver,
    metrics,
    inbound,
    connect,
    app: () => driver.connects.at(-1) as TestPeer,
    set(next: InboundSnapshot) {
      watched.value = next;
      for (const listener of [...listeners]) listener(next);
    },
    /** Lines of the exposition that begin with `name`. */
    metric: (name: string) =>
      exposition(metrics.sheet, []).split("\n").filter((line) => line.startsWith(name)),
  };
}

/** A client with an identity that needs no transport header at a port of its own. */
export const meshedAs = (identity: string): PeerTls => ({ identity, alpn: null });
