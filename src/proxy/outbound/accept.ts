// Outbound connections of the application. Used as an explicit proxy: the target is the request's
// authority (Host, absolute-form, CONNECT), or one fixed target for `tulle proxy --to`.

import type { Chan, Core, Driver, Peer } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { ConnInfo, HttpService } from "../../core/exchange.ts";
import type { TargetKey } from "../discovery/discovery.ts";
import { Http1Server } from "../http1/server.ts";
import { Http2Server, type Http2ServerOptions } from "../http2/server.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { ConnectionSeries, type ProxyMetrics } from "../metrics.ts";
import { counted } from "../tcp/counted.ts";
import { Detect, type EarlyForward } from "../tcp/detect-core.ts";
import { DetectSeries } from "../tcp/detect-metrics.ts";
import { Refuse } from "../tcp/detect-refuse.ts";
import { OpaqueServer } from "./opaque-server.ts";
import type { Targets, TargetStack } from "./targets.ts";

export interface OutboundAcceptOptions {
  readonly driver: Driver;
  readonly metrics: ProxyMetrics;
  readonly targets: Targets;
  /** Every request goes here, whatever its authority; null: the authority decides. */
  readonly fixed: TargetKey | null;
  readonly server: Omit<Http2ServerOptions, "service">;
  /** How long a client that says nothing is waited for; Linkerd's 10 s unless set. */
  readonly detectMs?: number;
  /** The targets speak HTTP, whatever clients do: a connection that is not HTTP is refused. */
  readonly httpOnly?: boolean;
}

/** A client that says nothing for so long may be one whose server speaks first. */
const EARLY_MS = 50;
const DETECT_MS = 10_000;

/** Accepts for a listener: returns the core of each new connection. */
export function outboundAccept(o: OutboundAcceptOptions): (ch: Chan, peer: Peer) => Core {
  const series = new ConnectionSeries(o.metrics, {
    direction: "outbound",
    peer: "src",
    tls: "no_identity",
    no_tls_reason: "loopback",
  });
  const { httpOnly = false } = o;
  const detections = new DetectSeries(o.metrics, "outbound", {});
  return (ch, peer) => {
    o.driver.meter(ch, series);
    const conn: ConnInfo = {
      direction: "outbound",
      remote: peer.remote,
      target: peer.local,
      tls: null,
    };
    const service = o.fixed === null ? byAuthority(o.targets) : fixed(o.targets, o.fixed);
    const opaque = () => new OpaqueServer(o.driver, conn, { ...o.server, service });
    const options = { ...o.server, service };
    const detect = new Detect(o.driver, {
      detectMs: o.detectMs ?? DETECT_MS,
      earlyMs: EARLY_MS,
      // Bytes that name no target can go nowhere.
      early: (): EarlyForward | null => o.fixed === null || httpOnly ? null : opaque(),
      serve(found, early) {
        if (early !== null) return early;
        if (found === "http1") return new Http1Server(o.driver, conn, options);
        if (found === "http2") return new Http2Server(o.driver, conn, options).session;
        return o.fixed === null || httpOnly ? new Refuse(o.driver, "flush") : opaque();
      },
      detected: (result, ms) => detections.detected(result, ms),
    });
    return counted(series, detect);
  };
}

function fixed(targets: Targets, key: TargetKey): HttpService {
  let last: TargetStack | null = null;
  return (x, reply) => {
    if (last === null || !last.live) last = targets.get("", key);
    return last.service(x, reply);
  };
}

/** One per connection: clients mostly repeat themselves, so the last target is tried first. */
function byAuthority(targets: Targets): HttpService {
  let authority = "";
  let last: TargetStack | null = null;
  return (x, reply) => {
    const wanted = x.request.authority;
    if (last === null || !last.live || wanted !== authority) {
      if (wanted === "") {
        reply.fail(
          new MeshError("bad-request", "The request names no host: send Host, or an absolute URL"),
        );
        return NOTHING_MORE;
      }
      try {
        last = targets.get(wanted.toLowerCase(), { authority: wanted.toLowerCase() });
      } catch (e) {
        reply.fail(
          e instanceof MeshError
            ? e
            : new MeshError("internal", "The destination cannot be looked up"),
        );
        return NOTHING_MORE;
      }
      authority = wanted;
    }
    return last.service(x, reply);
  };
}
