// A proxy in this process over real sockets: the stacks of `tulle proxy` with the portable driver, so
// that tests talk to it with the runtime's own clients and servers.

import type { SocketAddr } from "../../src/core/addr.ts";
import { type FilterChain, NO_FILTERS } from "../../src/core/filter.ts";
import { SILENT } from "../../src/core/log.ts";
import type { Endpoint } from "../../src/model/endpoint.ts";
import type { Discovery } from "../../src/proxy/discovery/discovery.ts";
import { createStaticDiscovery } from "../../src/proxy/discovery/static.ts";
import type { EndpointProtocol } from "../../src/proxy/http/endpoint-clients.ts";
import { Inbound } from "../../src/proxy/inbound/accept.ts";
import { ProxyMetrics } from "../../src/proxy/metrics.ts";
import { outboundAccept } from "../../src/proxy/outbound/accept.ts";
import { Targets } from "../../src/proxy/outbound/targets.ts";
import {
  Draining,
  MAX_HEAD_BYTES,
  reachOptions,
  serverOptions,
  STATIC_OUTBOUND,
} from "../../src/proxy/serve.ts";
import { MeshTls } from "../../src/runtime/mesh-tls.ts";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import { listen } from "../../src/runtime/net-listener.ts";

const LOOP = { ip: "127.0.0.1", port: 0 };

export interface NetProxyOptions {
  readonly to: readonly (SocketAddr | Endpoint)[];
  readonly protocol?: EndpointProtocol;
  readonly chain?: FilterChain;
  /** Instead of a set that never changes. */
  readonly discovery?: Discovery;
  /** The inbound stack, before the first of `to`, with a transport header where TLS is. */
  readonly inbound?: boolean;
  /** How long requests wait for a connection of HTTP/2. */
  readonly failfastMs?: number;
  /** Outbound: every connection is one that was redirected here on its way to this address. */
  readonly original?: SocketAddr;
  /** Its identity; without, it speaks plain text. */
  readonly identity?: Parameters<MeshTls["update"]>[0];
  /** False: it terminates TLS for its own name only, as in a pod. */
  readonly anyName?: boolean;
}

export interface NetProxy {
  readonly addr: SocketAddr;
  readonly port: number;
  readonly driver: NetDriver;
  readonly metrics: ProxyMetrics;
  readonly targets: Targets;
  /** What any core threw. */
  readonly defects: unknown[];
  /** A new certificate, for handshakes from now on. */
  renew(identity: Parameters<MeshTls["update"]>[0]): void;
  close(): Promise<void>;
}

export async function netProxy(o: NetProxyOptions): Promise<NetProxy> {
  const mesh = new MeshTls();
  if (o.identity !== undefined) mesh.update(o.identity);
  const driver = new NetDriver(mesh);
  const defects: unknown[] = [];
  driver.onDefect = (e) => defects.push(e);
  const metrics = new ProxyMetrics();
  const draining = new Draining();
  const endpoints = o.to.map((to): Endpoint =>
    "addr" in to ? to : {
      addr: to,
      weight: 10_000,
      labels: {},
      identity: null,
      transportPort: 0,
      hint: "none",
    }
  );
  const discovery = o.discovery ?? createStaticDiscovery({
    endpoints,
    chain: o.chain ?? NO_FILTERS,
    filters: [],
    allow: null,
  });
  const reach = {
    driver,
    metrics,
    sourceIp: null,
    podIps: null,
    connectMs: 5000,
    poolIdleMs: 3000,
    maxIdle: 100,
    ...(o.protocol === undefined ? {} : { protocol: o.protocol }),
  };
  const targets = new Targets(
    discovery,
    reachOptions(reach),
    {
      ...STATIC_OUTBOUND,
      inFlight: { count: 0 },
      failfastMs: o.failfastMs ?? STATIC_OUTBOUND.failfastMs,
    },
    Infinity,
  );
  const server = serverOptions({ metrics, log: SILENT, draining, tellMesh: () => true });
  const first = (endpoints[0] as Endpoint).addr;
  const local = new Inbound({
    ...reach,
    discovery,
    application: () => first,
    maxInFlight: 1000,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    server,
    fixedPort: first.port,
    log: SILENT,
  });
  const isInbound = o.inbound === true;
  const { original } = o;
  const outbound = outboundAccept({
    driver,
    metrics,
    targets,
    // As of a proxy whose endpoints speak HTTP only: nothing is opened for a client that is slow to speak.
    httpOnly: o.protocol === "http2",
    fixed: original === undefined ? { authority: "static" } : null,
    server,
  });
  const listener = await listen(driver, {
    at: LOOP,
    mesh: isInbound && o.identity !== undefined ? mesh : null,
    anyName: o.anyName ?? true,
    detectMs: 10_000,
    accept: isInbound
      ? local.accept
      : (ch, peer) => outbound(ch, original === undefined ? peer : { ...peer, original }),
    ...(isInbound ? { acceptSilent: local.acceptSilent } : {}),
    refused: () => {},
  });
  return {
    addr: listener.addr,
    port: listener.addr.port,
    driver,
    metrics,
    targets,
    defects,
    renew: (identity) => mesh.update(identity),
    async close() {
      driver.destroy();
      await listener.close();
    },
  };
}
