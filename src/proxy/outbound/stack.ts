// The outbound path of a request, top down, in the order in which it meets the layers. Built once per
// target; `outbound/accept.ts` comes before, the other proxy's `inbound/stack.ts` after.

import { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService } from "../../core/exchange.ts";
import { type Callouts, NO_FILTERS } from "../../core/filter.ts";
import { isFailure } from "../../model/route.ts";
import { connectionFilters } from "../http/connection-filters.ts";
import { endFilters, requestFilters } from "../http/filters.ts";
import { compose } from "../http/compose.ts";
import { isGrpcFailure } from "../http/grpc.ts";
import { matchRoute } from "../http/match-route.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { HTTP_ERRORS } from "../metrics/errors.ts";
import { attempts } from "./attempts.ts";
import { awaitReady } from "./await-ready.ts";
import { balance } from "./balance.ts";
import type { TapHub } from "../tap/hub.ts";
import type { RouteState, Target } from "./target.ts";
import { tunnel } from "./tunnel.ts";

/** What the stack is configured with. Per process. */
export interface OutboundOptions {
  readonly failfastMs: number;
  readonly queueCapacity: number;
  readonly replayMaxBytes: number;
  /** Requests at once, over all targets; more are refused. */
  readonly maxInFlight: number;
  readonly inFlight: { count: number };
  readonly random: () => number;
  /** Asks other services for filters. */
  readonly callouts?: Callouts;
  /** Whoever observes requests. */
  readonly tap?: TapHub;
}

/** The service of one target. What ends an exchange is told to the first layer, whichever way it ends. */
export function outboundStack(target: Target, o: OutboundOptions): HttpService {
  const { driver } = target.reach;
  return compose(
    // Counts what the application sees, and refuses what is over the bound.
    (inner) => countRequests(target, o, inner),
    // Holds requests until the control plane has spoken and an endpoint is there.
    (inner) => awaitReady(target, { ...o, driver }, inner),
    // CONNECT that means this proxy leaves here: a tunnel has no routes, but the default route's filters.
    (inner) =>
      tunnels(
        connectionFilters(
          () => target.routes.at(-1)?.chain ?? NO_FILTERS,
          () => driver.now,
          tunnel(target, o.random),
        ),
        inner,
      ),
    // Chooses the route; from here on its filters, time-out and classes are known.
    (inner) => route(target, inner),
    // Request filters: once, before any attempt.
    (inner) => requestFilters(o.callouts ?? null, inner),
    // Time-out, retries, response filters.
    (inner) => attempts(target, driver, o.replayMaxBytes, inner),
    // One attempt: an endpoint, its connection, the wire.
    balance(target, o.random, o.tap),
  );
}

function countRequests(target: Target, o: OutboundOptions, inner: HttpService): HttpService {
  const { metrics, driver } = target.reach;
  const { maxInFlight, inFlight } = o;
  const ended = (x: Exchange) => {
    target.active--;
    inFlight.count--;
    endFilters(x, driver.now);
    if (x.route !== null) {
      const { route, series } = x.route as RouteState;
      const failed = x.status === 0 || isFailure(x.status, route.responseClasses) ||
        isGrpcFailure(x.grpcStatus);
      series.ended(x.status, failed, driver.now - x.startedMs, x.request, driver.now);
    }
    const error = x.error === null ? null : HTTP_ERRORS[x.error.kind];
    if (error !== null) metrics.count(metrics.outboundErrors, { error });
  };
  return (x, reply) => {
    target.lastUsedMs = driver.now;
    target.active++;
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

function tunnels(tunnel: HttpService, inner: HttpService): HttpService {
  return (x, reply) => {
    const { isConnect, absoluteForm } = x.request;
    return isConnect && !absoluteForm ? tunnel(x, reply) : inner(x, reply);
  };
}

function route(target: Target, inner: HttpService): HttpService {
  return (x, reply) => {
    const matched = matchRoute(target.routes, x.request);
    if (matched === null) {
      const { method, path } = x.request;
      reply.fail(
        new MeshError(
          "no-route",
          `No route of ${target.snapshot?.authority} matches ${method} ${path.slice(0, 200)}`,
        ),
      );
      return NOTHING_MORE;
    }
    x.route = matched;
    x.chain = matched.chain;
    x.routeName = matched.route.name;
    matched.series.started();
    return inner(x, reply);
  };
}
