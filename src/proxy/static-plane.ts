// The data plane of `tulle proxy`, for one thread: one direction with one listener, and targets that
// are written on the command line.

import type { SocketAddr } from "../core/addr.ts";
import type { DataPlane } from "./data-plane.ts";
import type { Discovery } from "./discovery/discovery.ts";
import { Inbound } from "./inbound/accept.ts";
import { RETAIN_IDLE_MS, retainSeries } from "./metrics/retain.ts";
import { outboundAccept } from "./outbound/accept.ts";
import { CalloutClient } from "./outbound/callouts.ts";
import { Targets } from "./outbound/targets.ts";
import { NOBODY } from "./tap/hub.ts";
import {
  MAX_HEAD_BYTES,
  type PlaneThread,
  reachOptions,
  serverOptions,
  STATIC_INBOUND_WAIT,
  STATIC_OUTBOUND,
} from "./serve.ts";
import type { StaticOptions } from "./static-options.ts";

/** What of the command line decides how connections are served. */
export type StaticPlaneOptions = Pick<
  StaticOptions,
  "listen" | "to" | "inbound" | "identityDir" | "upstreamProtocol"
>;

/** Builds the direction that was asked for. Nothing is accepted before `listen`. */
export function createStaticPlane(
  o: StaticPlaneOptions,
  discovery: Discovery,
  thread: PlaneThread,
): DataPlane {
  const { driver, metrics, log, draining } = thread;
  const reach = {
    driver,
    metrics,
    sourceIp: null,
    // Every hop that has an identity is TLS, on loopback too: that is what was asked for.
    podIps: null,
    connectMs: 1000,
    poolIdleMs: 3000,
    maxIdle: 10_000,
    protocol: o.upstreamProtocol,
  };
  // From listening on: its timer keeps a process, which could not start, from ending.
  let endRetention = () => {};
  const callouts = new CalloutClient(driver);
  const targets = new Targets(
    discovery,
    reachOptions(reach),
    { ...STATIC_OUTBOUND, inFlight: { count: 0 }, callouts },
    Infinity,
  );
  callouts.targets = targets;
  const server = serverOptions({ metrics, log, draining, tellMesh: () => true });
  const to = o.to[0] as SocketAddr;
  const local = new Inbound({
    ...reach,
    discovery,
    callouts,
    application: () => to,
    maxInFlight: STATIC_OUTBOUND.maxInFlight,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    wait: STATIC_INBOUND_WAIT,
    server,
    fixedPort: to.port,
    log: log.with("inbound"),
  });
  return {
    targets,
    tap: NOBODY,
    listen: async () => {
      const listener = await thread.listen({
        at: o.listen,
        meshTls: o.inbound && o.identityDir !== null,
        anyName: true,
        detectMs: 10_000,
        accept: o.inbound ? local.accept : outboundAccept({
          driver,
          metrics,
          targets,
          fixed: { authority: "static" },
          server,
          httpOnly: o.upstreamProtocol !== "same",
        }),
        ...(o.inbound ? { acceptSilent: local.acceptSilent } : {}),
        refused: local.refused,
      });
      endRetention = retainSeries(thread, RETAIN_IDLE_MS);
      return [listener];
    },
    release() {
      endRetention();
      targets.release();
      local.release();
    },
  };
}
