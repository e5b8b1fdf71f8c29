// Outbound connections of the application. One that was redirected here goes to its original
// destination; one that was made to the proxy goes where each request says (Host, absolute-form,
// CONNECT), or to the one fixed target of `tulle proxy --to`.

import type { Chan, Core, Driver, Peer } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import { formatSocketAddr, type SocketAddr } from "../../core/addr.ts";
import type { ConnInfo, HttpService } from "../../core/exchange.ts";
import type { TargetKey } from "../discovery/discovery.ts";
import { Http1Server } from "../http1/server.ts";
import { Http2Server, type Http2ServerOptions } from "../http2/server.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { ConnectionSeries } from "../metrics/connections.ts";
import { targetLabels } from "../metrics/origins.ts";
import { counted } from "../tcp/counted.ts";
import { AwaitHello } from "../tcp/await-hello.ts";
import { Detect, type EarlyForward, type Served } from "../tcp/detect-core.ts";
import { countProtocol } from "../tcp/detect-metrics.ts";
import { TargetConnections } from "./target-connections.ts";
import { Refuse } from "../tcp/detect-refuse.ts";
import { refusalOf } from "./byte-route.ts";
import { AwaitPolicy } from "./await-policy.ts";
import { ingress } from "./ingress.ts";
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
  /** The application says in `l5d-dst-override` where a request goes. */
  readonly ingress?: boolean;
  /** Whether an address is one of this proxy's own; a connection to it is refused. */
  isOwn?(addr: SocketAddr): boolean;
}

/** How long a redirected connection waits to hear whether its destination is opaque. */
const POLICY_MS = 3000;

/** A client that says nothing for so long may be one whose server speaks first. */
const EARLY_MS = 20;
const DETECT_MS = 10_000;

/** Accepts for a listener: returns the core of each new connection. */
export function outboundAccept(o: OutboundAcceptOptions): (ch: Chan, peer: Peer) => Core {
  const series = new ConnectionSeries(o.metrics, {
    direction: "outbound",
    peer: "src",
    tls: "no_identity",
    no_tls_reason: "loopback",
  });
  const { httpOnly = false, detectMs = DETECT_MS } = o;
  const connections = new TargetConnections(o.metrics);
  const failed = (error: string, to: SocketAddr) => {
    const { metrics } = o;
    metrics.countPassing(metrics.outboundTcpErrors, { ...targetLabels(to), error });
  };
  return (ch, peer) => {
    const { original } = peer;
    if (original !== undefined && o.isOwn?.(original) === true) {
      failed("loop", original);
      return new Refuse(o.driver);
    }
    o.driver.meter(ch, series);
    const conn: ConnInfo = {
      direction: "outbound",
      remote: peer.remote,
      target: original ?? peer.local,
      tls: null,
    };
    const key = o.fixed ?? (original === undefined ? null : { original });
    const service = key === null
      ? byAuthority(o.targets)
      : fixed(o.targets, original === undefined ? "" : formatSocketAddr(original), key);
    const plain = original === undefined ? service : asReceived(service);
    const http = o.ingress === true ? ingress(o.targets, o.metrics, plain) : plain;
    let stack: TargetStack | null = null;
    const known = () => stack?.target.snapshot ?? null;
    const onlyHttp = () => key === null || httpOnly || known()?.httpOnly === true;
    const opaque = (serverName?: string | null) =>
      new OpaqueServer(
        o.driver,
        serverName === undefined ? conn : { ...conn, serverName },
        { ...o.server, service },
        connections.route(known(), serverName),
      );
    const options = { ...o.server, service: http };
    const detect = () =>
      new Detect(o.driver, {
        detectMs,
        earlyMs: EARLY_MS,
        silentMs: 0,
        // Bytes that name no target can go nowhere.
        early: (): EarlyForward | null => onlyHttp() ? null : opaque(),
        serve(found, early) {
          if (early !== null) return early;
          if (found === "http1") return new Http1Server(o.driver, conn, options);
          if (found === "http2") return new Http2Server(o.driver, conn, options).session;
          if (!onlyHttp()) return opaque();
          const snapshot = known();
          if (snapshot === null) return new Refuse(o.driver, "flush");
          // Where no request may go either, that is why.
          if (refusalOf(snapshot, undefined) !== null) return opaque();
          failed("not HTTP", conn.target);
          return new Refuse(o.driver);
        },
        detected: (result, ms) => connections.detections(known()).detected(result, ms),
      });
    if (original === undefined) {
      countProtocol(o.metrics, "detect", connections.parent(null));
      return counted(series, detect());
    }
    try {
      stack = o.targets.get(formatSocketAddr(original), { original });
    } catch {
      failed("loadshed", original);
      return new Refuse(o.driver);
    }
    // On an opaque port nothing is read as HTTP, whatever it looks like.
    const serve = (): Served => {
      const is = known()?.tls === true ? "tls" : known()?.opaque === true ? "opaq" : "detect";
      countProtocol(o.metrics, is, connections.parent(known()));
      if (is === "detect") return detect();
      return is === "opaq" ? opaque() : new AwaitHello(o.driver, detectMs, (hello) => {
        if (hello.kind === "tls") return opaque(hello.serverName);
        failed("not TLS", original);
        return new Refuse(o.driver);
      });
    };
    return counted(
      series,
      stack.target.snapshot === null
        ? new AwaitPolicy(o.driver, stack.target, POLICY_MS, serve)
        : serve(),
    );
  };
}

/** For a client that was redirected: whole URLs and CONNECT are for who it thinks that it speaks to. */
function asReceived(inner: HttpService): HttpService {
  return (x, reply) => {
    x.request.keepForm();
    return inner(x, reply);
  };
}

/** One target for all requests of a connection; `name` is its key as text. */
function fixed(targets: Targets, name: string, key: TargetKey): HttpService {
  let last: TargetStack | null = null;
  return (x, reply) => {
    if (last === null || !last.live) {
      try {
        last = targets.get(name, key);
      } catch (e) {
        reply.fail(
          e instanceof MeshError
            ? e
            : new MeshError("internal", "The destination cannot be looked up"),
        );
        return NOTHING_MORE;
      }
    }
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
