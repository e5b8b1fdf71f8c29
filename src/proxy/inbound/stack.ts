// The inbound path of a request, top down. Built once per connection, since who the client is and what
// it may do are facts of the connection; `inbound/accept.ts` comes before, the application after.

import type { ConnInfo, Exchange, HttpService } from "../../core/exchange.ts";
import { MeshError } from "../../core/errors.ts";
import { headerName } from "../../core/head.ts";
import { isFailure } from "../../model/route.ts";
import type { RouteSnapshot } from "../discovery/discovery.ts";
import { endFilters, requestFilters, responseFilters } from "../http/filters.ts";
import { compose } from "../http/compose.ts";
import { isGrpcFailure } from "../http/grpc.ts";
import { matchRoute } from "../http/match-route.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { downgrade } from "../http2/orig-proto.ts";
import { HTTP_ERRORS } from "../metrics/errors.ts";
import { inboundEnds } from "../tap/ends.ts";
import { NOBODY } from "../tap/hub.ts";
import { tapped } from "../tap/tapped.ts";
import { measure } from "./measure.ts";
import type { Decision, InboundPort } from "./port.ts";
import { profiled, profiledEnd } from "./profiled.ts";
import { decidesAccess, Standing } from "./standing.ts";

const CLIENT_ID = headerName("l5d-client-id");

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
    // Measures both bodies.
    (inner) => measured(standing, inner),
    // Tells the application who asks, and nobody else can.
    (inner) => clientIdentity(standing, inner),
    (inner) => requestFilters(port.options.callouts ?? null, inner),
    // Counts by the routes of the service that the client meant.
    (inner) => serviceProfile(standing, inner),
    (inner) => responseFilters(inner),
    // The application.
    application(standing),
  );
}

function application(standing: Standing): HttpService {
  const { client, awaits, application: addr, options } = standing.port;
  const tap = options.tap ?? NOBODY;
  const now = () => options.driver.now;
  const send: HttpService = (x, reply) => {
    if (tap.active === 0) return client.dispatch(x, reply);
    const { labels } = (x.route as RouteSnapshot).route;
    const ends = inboundEnds(x, addr, standing.decision?.labels ?? {}, labels);
    return tapped(tap, now, x, reply, ends, (x, reply) => client.dispatch(x, reply));
  };
  if (awaits === null) return send;
  return (x, reply) => client.isCold(x.request) ? awaits.send(x, reply, send) : send(x, reply);
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
  const { driver, metrics, maxInFlight, inFlight, accessLog = null } = standing.port.options;
  const ended = (x: Exchange) => {
    inFlight.count--;
    endFilters(x, driver.now);
    if (accessLog !== null) accessLog.ended(x);
    if (x.profileRoute !== null) profiledEnd(x, driver.now - x.startedMs, driver.now);
    if (x.route !== null) {
      const route = x.route as RouteSnapshot;
      const failed = x.status === 0 || isFailure(x.status, route.route.responseClasses) ||
        isGrpcFailure(x.grpcStatus);
      const routed = standing.routed(route);
      if (routed !== null) {
        const { now } = driver;
        const ms = now - x.startedMs;
        const { request: head, status, grpcStatus } = x;
        const responseMs = x.requestEndedMs === 0 ? -1 : now - x.requestEndedMs;
        routed.requests(x).ended(status, failed, ms, "", grpcStatus, head, now);
        routed.route.ended(status, grpcStatus, ms, responseMs, head, now);
        if (x.filtersSeen >= 0 || routed.decides) routed.decided(x);
      }
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
      const route = matchRoute(standing.snapshot?.routes ?? [], x.request);
      port.authzSeries(decision, route).denied();
      reply.fail(unauthorized(standing, decision));
      return NOTHING_MORE;
    }
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

function route(standing: Standing, inner: HttpService): HttpService {
  const { metrics } = standing.port.options;
  return (x, reply) => {
    const matched = matchRoute(standing.snapshot?.routes ?? [], x.request);
    if (matched === null) {
      metrics.countPassing(metrics.routeNotFound, standing.decision?.labels ?? {});
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
      if (decision !== null) standing.port.authzSeries(decision, matched).denied();
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
    const routed = standing.routed(matched);
    if (routed !== null) {
      routed.requests(x).started();
      routed.route.started();
      // A filter that decides is asked first.
      if (!routed.decides) routed.authz.allowed();
    }
    return inner(x, reply);
  };
}

function measured(standing: Standing, inner: HttpService): HttpService {
  const { options: { driver }, measured: free } = standing.port;
  const seriesOf = (x: Exchange) => standing.routed(x.route as RouteSnapshot)?.route ?? null;
  return measure(() => driver.now, seriesOf, free, inner);
}

function serviceProfile({ conn, port: { options } }: Standing, inner: HttpService): HttpService {
  const { profiles, driver } = options;
  if (profiles === undefined || conn.tls?.identity == null) return inner;
  return profiled(() => driver.now, profiles, inner);
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
