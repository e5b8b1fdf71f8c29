// The ways to a real server through our proxies, over real sockets: both meshed, one of them not, the
// port known to be opaque or not. All proxies are in this process, the clients are not.

import * as assert from "uvu/assert";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import type { Endpoint } from "../../../src/model/endpoint.ts";
import type { Discovery } from "../../../src/proxy/discovery/discovery.ts";
import { createStaticDiscovery } from "../../../src/proxy/discovery/static.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { parseSamples, type Sample } from "../../../src/cli/demo-scrape.ts";
import { eventually, sum } from "../../mesh/support/waiting.ts";
import { material } from "../../support/driver-fixture.ts";
import { type NetProxy, netProxy } from "../../support/net-proxy.ts";
import { createTestCa } from "../../support/test-ca.ts";

/** Where a client connects, and what the proxies on the way have counted. */
export interface Way {
  readonly name: string;
  readonly port: number;
  /** The proxy that the client's bytes are looked at by; null: nobody looks, the port is opaque. */
  readonly detects: "outbound" | "inbound" | null;
  /** Connections whose protocol was told, by outcome. */
  detections(): Readonly<Record<string, number>>;
  /** How many of them took no longer than so many seconds; a bound of the histogram. */
  detectedWithin(seconds: number): number;
  /** Resolves when no connection is open any more, on either side of any proxy. */
  settled(): Promise<void>;
  /** Fails when a core threw. */
  check(): void;
}

export interface Ways {
  readonly all: readonly Way[];
  close(): Promise<void>;
}

/** All ways to 127.0.0.1:`port`. */
export async function waysTo(port: number): Promise<Ways> {
  const ca = await createTestCa();
  const app = { ip: "127.0.0.1", port };
  const proxies: NetProxy[] = [];
  const add = async (o: Parameters<typeof netProxy>[0]) => {
    const proxy = await netProxy(o);
    proxies.push(proxy);
    return proxy;
  };
  const identity = await material(ca, "server.test");
  const client = await material(ca, "client.test");
  const inbound = await add({ to: [app], inbound: true, identity });
  const meshed: Endpoint = {
    addr: inbound.addr,
    weight: 10_000,
    labels: {},
    identity: { name: "server.test", serverName: "server.test" },
    transportPort: 0,
    hint: "none",
  };
  // Where the client believes that it connects to.
  const original = { ip: "10.9.8.7", port };
  const both = await add({ to: [meshed], original, identity: client });
  const plain = await add({ to: [app], original });
  const opaqueBoth = await add({
    to: [meshed],
    original,
    identity: client,
    discovery: opaque([meshed]),
  });
  const opaquePlain = await add({
    to: [app],
    original,
    discovery: opaque([endpointAt(app)]),
  });
  const opaqueIn = await add({
    to: [app],
    inbound: true,
    identity,
    discovery: opaque([endpointAt(app)]),
  });
  return {
    all: [
      way("both meshed", both, "outbound", [both, inbound]),
      way("both meshed, opaque", opaqueBoth, null, [opaqueBoth, inbound]),
      way("the server is not meshed", plain, "outbound", [plain]),
      way("the server is not meshed, opaque", opaquePlain, null, [opaquePlain]),
      way("the client is not meshed", inbound, "inbound", [inbound]),
      way("the client is not meshed, opaque", opaqueIn, null, [opaqueIn]),
    ],
    async close() {
      for (const proxy of proxies) await proxy.close();
    },
  };
}

function endpointAt(addr: Endpoint["addr"]): Endpoint {
  return { addr, weight: 10_000, labels: {}, identity: null, transportPort: 0, hint: "none" };
}

/** Discovery in which every port is marked as opaque, on both sides. */
function opaque(endpoints: readonly Endpoint[]): Discovery {
  const fixed = createStaticDiscovery({ endpoints, chain: NO_FILTERS, filters: [], allow: null });
  return {
    outbound(key) {
      const watched = fixed.outbound(key);
      return { ...watched, value: watched.value && { ...watched.value, opaque: true } };
    },
    inbound(port) {
      const watched = fixed.inbound(port);
      const { value } = watched;
      const policy = value && { ...value.policy, protocol: "opaque" as const };
      return { ...watched, value: value && policy && { ...value, policy } };
    },
  };
}

function way(
  name: string,
  entry: NetProxy,
  detects: Way["detects"],
  on: readonly NetProxy[],
): Way {
  const samples = (proxy: NetProxy): readonly Sample[] =>
    parseSamples(exposition(proxy.metrics.sheet, []), () => true);
  return {
    name,
    port: entry.port,
    detects,
    detections() {
      const found: Record<string, number> = {};
      for (const { name: family, labels, value } of samples(entry)) {
        if (family !== `${detects}_tcp_detect_http_results_total`) continue;
        const { result = "" } = labels;
        found[result] = (found[result] ?? 0) + value;
      }
      return found;
    },
    detectedWithin: (seconds) =>
      sum(samples(entry), `${detects}_tcp_detect_http_duration_seconds_bucket`, {
        le: String(seconds),
      }),
    settled: () =>
      eventually("every connection is closed", () => {
        for (const proxy of on) assert.is(sum(samples(proxy), "tcp_open_connections"), 0);
      }, 30_000),
    check() {
      for (const proxy of on) assert.equal(proxy.defects, []);
    },
  };
}
