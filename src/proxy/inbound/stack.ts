// The inbound path of a request, top down. Built once per connection, since who the client is and what
// it may do are facts of the connection; `inbound/accept.ts` comes before, the application after.

import type { ConnInfo, Exchange, HttpService } from "../../core/exchange.ts";
import { MeshError } from "../../core/errors.ts";
import { headerName } from "../../core/head.ts";
import { isFailure } from "../../model/route.ts";
import type { InboundSnapshot, RouteSnapshot } from "../discovery/discovery.ts";
import { endFilters, requestFilters, responseFilters } from "../http/filters.ts";
import { compose } from "../http/compose.ts";
import { isGrpcFailure } from "../http/grpc.ts";
import { matchRoute } from "../http/match-route.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { downgrade } from "../http2/orig-proto.ts";
import { HTTP_ERRORS } from "../metrics/errors.ts";
import type { RequestSeries } from "../metrics/requests.ts";
import { inboundEnds } from "../tap/ends.ts";
import { NOBODY } from "../tap/hub.ts";
import { tapped } from "../tap/tapped.ts";
import type { Decision, InboundPort } from "./port.ts";

const CLIENT_ID = headerName("l5d-client-id");

/** What is known of the connection, looked at again only when the policy changed. */
class Standing {
  readonly port: InboundPort;
  readonly conn: ConnInfo;
  decision: Decision | null = null;
  /** A route may admit whom the server does not. */
  routesDecide = false;
  /** The cell that counts what the policy allowed. */
  allowed = 0;
  #snapshot: InboundSnapshot | null = null;
  #series = new Map<RouteSnapshot | null, RequestSeries>();

  constructor(port: InboundPort, conn: ConnInfo) {
    this.port = port;
    this.conn = conn;
  }

  get snapshot(): InboundSnapshot | null {
    return this.#snapshot;
  }

  refresh(): void {
    const { value } = this.port.watched;
    if (value === this.#snapshot) return;
    this.#snapshot = value;
    this.#series = new Map();
    const { remote, tls } = this.conn;
    this.decision = this.port.decide({
      ip: remote.ip,
      meshed: tls !== null,
      identity: tls?.identity ?? null,
    });
    this.routesDecide = value?.routes.some(decidesAccess) ?? false;
    if (this.decision?.authorization != null) {
      const { sheet, authzAllow } = this.port.options.metrics;
      this.allowed = sheet.cell(authzAllow, this.decision.labels);
    }
  }

  series(route: RouteSnapshot | null): RequestSeries | null {
    let series = this.#series.get(route);
    if (series === undefined && this.decision !== null) {
      series = this.port.requests(this.decision, route);
      this.#series.set(route, series);
    }
    return series ?? null;
  }
}

/** The service of one connection to one port. */
export function inboundStack(port: InboundPort, conn: ConnInfo): HttpService {
  const standing = new Standing(port, conn);
  return compose(
    // What another proxy carried over HTTP/2 is HTTP/1 again for everything below.
    (inner) => originalProtocol(conn, inner),
    // Counts, and refuses what is over the bound.
    (inner) => countRequests(standing, inner),
    // Whether this client may speak to the port at all.
    (inner) => authorizeClient(standing, inner),
    // Chooses the route; from here on its filters are known.
    (inner) => route(standing, inner),
    // Tells the application who asks, and nobody else can.
    (inner) => clientIdentity(standing, inner),
    (inner) => requestFilters(port.options.callouts ?? null, inner),
    (inner) => responseFilters(inner),
    // The application.
    application(standing),
  );
}

function application(standing: Standing): HttpService {
  const { client, application: addr, options } = standing.port;
  const tap = options.tap ?? NOBODY;
  const now = () => options.driver.now;
  return (x, reply) => {
    if (tap.active === 0) return client.dispatch(x, reply);
    const { labels } = (x.route as RouteSnapshot).route;
    const ends = inboundEnds(x, addr, standing.decision?.labels ?? {}, labels);
    return tapped(tap, now, x, reply, ends, (x, reply) => client.dispatch(x, reply));
  };
}

function originalProtocol(conn: ConnInfo, inner: HttpService): HttpService {
  // An application's own header of that name means nothing.
  const isProxy = conn.tls !== null;
  return (x, reply) => {
    if (!isProxy || downgrade(x.request) === null) x.request.keepForm();
    return inner(x, reply);
  };
}

function countRequests(standing: Standing, inner: HttpService): HttpService {
  const { driver, metrics, maxInFlight, inFlight } = standing.port.options;
  const ended = (x: Exchange) => {
    inFlight.count--;
    endFilters(x, driver.now);
    if (x.route !== null) {
      const route = x.route as RouteSnapshot;
      const failed = x.status === 0 || isFailure(x.status, route.route.responseClasses) ||
        isGrpcFailure(x.grpcStatus);
      standing.series(route)?.ended(
        x.status,
        failed,
        driver.now - x.startedMs,
        "",
        x.grpcStatus,
        x.request,
        driver.now,
      );
    }
    const error = x.error === null ? null : HTTP_ERRORS[x.error.kind];
    // Unknown routes have a family of their own.
    if (error !== null && error !== "no-route") metrics.count(metrics.inboundErrors, { error });
  };
  return (x, reply) => {
    inFlight.count++;
    x.onEnd = ended;
    if (inFlight.count > maxInFlight) {
      reply.fail(
        new MeshError("overload", `${maxInFlight} requests are in flight, which is the limit`),
      );
      return NOTHING_MORE;
    }
    return inner(x, reply);
  };
}

function authorizeClient(standing: Standing, inner: HttpService): HttpService {
  const { port } = standing;
  const { metrics } = port.options;
  return (x, reply) => {
    standing.refresh();
    const { decision } = standing;
    if (decision === null) {
      reply.fail(
        new MeshError("policy", port.watched.why || `No policy for port ${port.port} yet`),
      );
      return NOTHING_MORE;
    }
    if (decision.authorization === null) {
      if (standing.routesDecide) return inner(x, reply); // and `route` refuses, or a filter of it decides
      metrics.count(metrics.authzDeny, decision.labels);
      reply.fail(unauthorized(standing, decision));
      return NOTHING_MORE;
    }
    metrics.sheet.add(standing.allowed, 1);
    return inner(x, reply);
  };
}

function unauthorized({ conn, port }: Standing, { policy }: Decision): MeshError {
  const who = conn.tls?.identity ?? `${conn.remote.ip} without a mesh identity`;
  return new MeshError(
    "unauthorized",
    `${who} is not authorized on ${policy.origin.name} port ${port.port}`,
  );
}

/** Whether a filter of the route decides who may use it, in the place of the server's policy. */
function decidesAccess({ route }: RouteSnapshot): boolean {
  return route.actions?.some((a) => a.kind === "authorize") ?? false;
}

function route(standing: Standing, inner: HttpService): HttpService {
  const { metrics } = standing.port.options;
  return (x, reply) => {
    const matched = matchRoute(standing.snapshot?.routes ?? [], x.request);
    if (matched === null) {
      metrics.count(metrics.routeNotFound, standing.decision?.labels ?? {});
      reply.fail(
        new MeshError(
          "no-route",
          `No route matches ${x.request.method} ${x.request.path.slice(0, 200)}`,
        ),
      );
      return NOTHING_MORE;
    }
    const { decision } = standing;
    if (decision === null || (decision.authorization === null && !decidesAccess(matched))) {
      metrics.count(metrics.authzDeny, decision?.labels ?? {});
      reply.fail(
        decision === null
          ? new MeshError("policy", `No policy for port ${standing.port.port}`)
          : unauthorized(standing, decision),
      );
      return NOTHING_MORE;
    }
    x.route = matched;
    x.chain = matched.chain;
    x.routeName = matched.route.name;
    standing.series(matched)?.started();
    return inner(x, reply);
  };
}

function clientIdentity(standing: Standing, inner: HttpService): HttpService {
  const identity = standing.conn.tls?.identity ?? null;
  // Received `l5d-…` fields are dropped by the encoder, so that without an identity there is none.
  if (identity === null) return inner;
  return (x, reply) => {
    x.request.set(CLIENT_ID, identity);
    return inner(x, reply);
  };
}
