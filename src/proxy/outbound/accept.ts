// Outbound connections of the application. Used as an explicit proxy: the target is the request's
// authority (Host, absolute-form, CONNECT), or one fixed target for `tulle proxy --to`.

import type { Chan, Core, Driver, Peer } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { ConnInfo, HttpService } from "../../core/exchange.ts";
import type { TargetKey } from "../discovery/discovery.ts";
import { Http1Server, type ServerOptions } from "../http1/server.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { ConnectionSeries, type ProxyMetrics } from "../metrics.ts";
import { counted } from "../tcp/counted.ts";
import type { Targets, TargetStack } from "./targets.ts";

export interface OutboundAcceptOptions {
  readonly driver: Driver;
  readonly metrics: ProxyMetrics;
  readonly targets: Targets;
  /** Every request goes here, whatever its authority; null: the authority decides. */
  readonly fixed: TargetKey | null;
  readonly server: Omit<ServerOptions, "service">;
}

/** Accepts for a listener: returns the core of each new connection. */
export function outboundAccept(o: OutboundAcceptOptions): (ch: Chan, peer: Peer) => Core {
  const series = new ConnectionSeries(o.metrics, {
    direction: "outbound",
    peer: "src",
    tls: "no_identity",
    no_tls_reason: "loopback",
  });
  return (ch, peer) => {
    o.driver.meter(ch, series);
    const conn: ConnInfo = {
      direction: "outbound",
      remote: peer.remote,
      target: peer.local,
      tls: null,
    };
    const service = o.fixed === null ? byAuthority(o.targets) : fixed(o.targets, o.fixed);
    return counted(series, new Http1Server(o.driver, conn, { ...o.server, service }));
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
