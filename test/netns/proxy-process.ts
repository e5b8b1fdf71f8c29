// A proxy without a control plane behind real REDIRECT rules: every redirected connection goes to its
// original destination, outbound on 4140 and inbound on 4143. Appends a line for each connection to a
// file, before it serves it.

import { appendFileSync } from "node:fs";
import process from "node:process";
import { formatSocketAddr } from "../../src/core/addr.ts";
import type { Chan, Core, Peer } from "../../src/core/driver.ts";
import { NO_FILTERS } from "../../src/core/filter.ts";
import { SILENT } from "../../src/core/log.ts";
import { combine } from "../../src/proxy/discovery/combine.ts";
import type {
  Discovery,
  InboundSnapshot,
  OutboundSnapshot,
  Watched,
} from "../../src/proxy/discovery/discovery.ts";
import { resolveAddr } from "../../src/proxy/discovery/names.ts";
import { createStaticDiscovery } from "../../src/proxy/discovery/static.ts";
import { Inbound } from "../../src/proxy/inbound/accept.ts";
import { ProxyMetrics } from "../../src/proxy/metrics.ts";
import { outboundAccept } from "../../src/proxy/outbound/accept.ts";
import { Targets } from "../../src/proxy/outbound/targets.ts";
import { ownListener } from "../../src/proxy/own-listener.ts";
import {
  Draining,
  MAX_HEAD_BYTES,
  reachOptions,
  serverOptions,
  STATIC_OUTBOUND,
} from "../../src/proxy/serve.ts";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import { listen } from "../../src/runtime/net-listener.ts";

const [file = "", ...podIps] = process.argv.slice(2);
const driver = new NetDriver(null);
const metrics = new ProxyMetrics();
const draining = new Draining();

const fixed = createStaticDiscovery({ endpoints: [], chain: NO_FILTERS, filters: [], allow: null });
const discovery: Discovery = {
  inbound(port): Watched<InboundSnapshot> {
    const snapshot = fixed.inbound(port).value as InboundSnapshot;
    const value: InboundSnapshot = {
      ...snapshot,
      policy: { ...snapshot.policy, protocol: "detect" },
    };
    return { value, why: "", subscribe: () => () => {}, release: () => {} };
  },
  outbound(key): Watched<OutboundSnapshot> {
    if (!("original" in key)) return fixed.outbound(key);
    const target = resolveAddr(key.original);
    if (target.kind !== "addr") throw new Error("an address is one");
    // what a proxy does with an address of which no service and no policy is known
    const plan = combine(target, null, null);
    const { endpoints } = plan;
    const value = {
      ...(fixed.outbound(key).value as OutboundSnapshot),
      authority: plan.authority,
      endpoints: "set" in endpoints ? endpoints.set : null,
    };
    return { value, why: "", subscribe: () => () => {}, release: () => {} };
  },
};

const reach = {
  driver,
  metrics,
  sourceIp: null,
  podIps,
  connectMs: 5000,
  poolIdleMs: 1000,
  maxIdle: 0, // each request is a connection, which the rules decide about
};
const targets = new Targets(
  discovery,
  reachOptions(reach),
  { ...STATIC_OUTBOUND, inFlight: { count: 0 } },
  5000,
);
const server = serverOptions({ metrics, log: SILENT, draining, tellMesh: () => true });
const listeners = [{ ip: "::", port: 4143 }, { ip: "::", port: 4140 }];
const isOwn = ownListener(listeners, podIps);
const inbound = new Inbound({
  ...reach,
  discovery,
  application: (port) => ({ ip: podIps[0] ?? "127.0.0.1", port }),
  maxInFlight: 1000,
  inFlight: { count: 0 },
  maxHeadBytes: MAX_HEAD_BYTES,
  server,
  fixedPort: null,
  isOwn,
  log: SILENT,
});

/** Says where each connection wanted to go, then serves it. */
function told(direction: string, accept: (ch: Chan, peer: Peer) => Core) {
  return (ch: Chan, peer: Peer): Core => {
    const to = peer.original === undefined ? "here" : formatSocketAddr(peer.original);
    appendFileSync(file, `${direction} ${to}\n`);
    return accept(ch, peer);
  };
}

const common = { mesh: null, anyName: false, detectMs: 0, transparent: true, refused: () => {} };
await listen(driver, {
  ...common,
  at: listeners[0] as (typeof listeners)[0],
  accept: told("inbound", inbound.accept),
});
await listen(driver, {
  ...common,
  at: listeners[1] as (typeof listeners)[0],
  accept: told(
    "outbound",
    outboundAccept({ driver, metrics, targets, fixed: null, isOwn, server }),
  ),
});
process.stdout.write("ready\n");
