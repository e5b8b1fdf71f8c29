// The data plane of a configured proxy, for one thread: outbound targets, the inbound side, and the
// listeners in front of them. What it knows comes from a `Discovery`, whatever is behind that.

import type { Listener } from "../core/listen.ts";
import { backoffOf, type DirectionConfig, type ProxyConfig } from "./config.ts";
import type { Discovery } from "./discovery/discovery.ts";
import { DEFAULT_HTTP2 } from "./http/endpoint-clients.ts";
import { Inbound } from "./inbound/accept.ts";
import { AccessLog } from "./inbound/access-log.ts";
import { Gateway } from "./inbound/gateway.ts";
import { Profiles } from "./inbound/profiles.ts";
import { outboundAccept } from "./outbound/accept.ts";
import { retainSeries } from "./metrics/retain.ts";
import { ownListener } from "./own-listener.ts";
import { CalloutClient } from "./outbound/callouts.ts";
import { Targets } from "./outbound/targets.ts";
import { TapHub } from "./tap/hub.ts";
import { listenForTap } from "./tap/listen.ts";
import { MAX_HEAD_BYTES, type PlaneThread, reachOptions, serverOptions } from "./serve.ts";

/** A data plane that was built and can be listened with. */
export interface DataPlane {
  readonly targets: Targets;
  /** Whoever observes its requests. */
  readonly tap: TapHub;
  /** Begins to accept. Rejects with one line that names the address that failed. */
  listen(): Promise<readonly Listener[]>;
  /** Lets discovery go and ends idle connections. */
  release(): void;
}

/** Builds both directions. Nothing is accepted before `listen`. */
export function createDataPlane(
  config: ProxyConfig,
  discovery: Discovery,
  thread: PlaneThread,
): DataPlane {
  const { inbound, outbound } = config;
  const { driver, metrics, log, draining } = thread;
  const podIps = inbound.ips;
  const isOwn = ownListener([inbound.listen, ...outbound.listen], podIps);
  const reach = (connectMs: number, of: DirectionConfig) => ({
    driver,
    metrics,
    sourceIp: config.sourceIp,
    podIps,
    connectMs,
    keepAliveMs: of.connectKeepaliveMs,
    poolIdleMs: of.poolIdleMs,
    maxIdle: of.maxIdlePerEndpoint,
  });
  // From listening on: its timer keeps a process, which could not start, from ending.
  let endRetention = () => {};
  const callouts = new CalloutClient(driver);
  const tap = new TapHub();
  const targets = new Targets(
    discovery,
    reachOptions({
      ...reach(outbound.connectTimeoutMs, outbound),
      backoff: () => backoffOf(outbound.connectBackoff, Math.random),
      http2: { ...DEFAULT_HTTP2, ...outbound.http2Client },
    }),
    {
      failfastMs: outbound.failfastMs,
      queueCapacity: outbound.queueCapacity,
      replayMaxBytes: config.replayMaxBytes,
      hostnameLabels: outbound.hostnameLabels,
      maxInFlight: outbound.maxInFlight,
      inFlight: { count: 0 },
      random: Math.random,
      callouts,
      tap,
    },
    outbound.discoveryIdleMs,
  );
  callouts.targets = targets;
  const shared = { metrics, log, draining };
  // Only a meshed client is told why it was refused.
  const inboundServer = serverOptions({
    ...shared,
    tellMesh: (conn) => conn.tls !== null,
    http2: inbound.http2,
  });
  const { wall } = metrics;
  const accessLog = config.accessLog === null
    ? null
    : new AccessLog({ format: config.accessLog, driver, metrics, wall, write: thread.writeLines });
  const idleMs = inbound.discoveryIdleMs;
  const profiles = new Profiles({ driver, metrics, discovery, config, idleMs });
  const local = new Inbound({
    ...reach(inbound.connectTimeoutMs, inbound),
    discovery,
    callouts,
    profiles,
    tap,
    application: (port) => ({ ip: podIps[0] ?? "127.0.0.1", port }),
    authorityLabels: inbound.authorityLabels,
    accessLog,
    maxInFlight: inbound.maxInFlight,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    wait: {
      failfastMs: inbound.failfastMs,
      capacity: inbound.queueCapacity,
      backoff: () => backoffOf(inbound.connectBackoff, Math.random),
    },
    server: inboundServer,
    fixedPort: null,
    gateway: inbound.gatewaySuffixes.length === 0 ? null : new Gateway({
      driver,
      targets,
      suffixes: inbound.gatewaySuffixes,
      id: config.identity.id,
      server: inboundServer,
    }),
    isOwn,
    log: log.with("inbound"),
  });
  return {
    targets,
    tap,
    listen: async () => {
      const listeners = await Promise.all([
        thread.listen({
          at: inbound.listen,
          backlog: inbound.listenBacklog,
          keepAliveMs: inbound.acceptKeepaliveMs,
          meshTls: true,
          anyName: false,
          detectMs: inbound.detectTimeoutMs,
          transparent: true,
          accept: local.accept,
          acceptSilent: local.acceptSilent,
          refused: local.refused,
        }),
        ...outbound.listen.map((at) =>
          thread.listen({
            at,
            backlog: outbound.listenBacklog,
            keepAliveMs: outbound.acceptKeepaliveMs,
            meshTls: false,
            anyName: false,
            detectMs: 0,
            transparent: true,
            accept: outboundAccept({
              driver,
              metrics,
              targets,
              fixed: null,
              ingress: outbound.ingress,
              detectMs: outbound.detectTimeoutMs,
              isOwn,
              server: serverOptions({
                ...shared,
                tellMesh: () => outbound.informationalHeaders,
                http2: outbound.http2,
              }),
            }),
            refused: () => {},
          })
        ),
      ]);
      const observers = await listenForTap(config, tap, thread);
      endRetention = retainSeries(thread, config.metricsRetainIdleMs);
      return [...listeners, ...observers];
    },
    release() {
      endRetention();
      accessLog?.flush();
      targets.release();
      local.release();
      profiles.release();
    },
  };
}
