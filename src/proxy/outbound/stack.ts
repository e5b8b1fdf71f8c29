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
import { HTTP_ERRORS, streamError } from "../metrics/errors.ts";
import type { OutboundRouteSeries } from "../metrics/outbound-routes.ts";
import { attempts } from "./attempts.ts";
import { awaitReady } from "./await-ready.ts";
import { balance } from "./balance.ts";
import type { TapHub } from "../tap/hub.ts";
import { variantOf } from "./split.ts";
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
  /** Whether `hostname` is a label of route metrics. */
  readonly hostnameLabels?: boolean;
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
    (inner) => route(target, o.random, inner),
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
      const { route, series, policy } = x.route as RouteState;
      const failed = x.status === 0 || isFailure(x.status, route.responseClasses) ||
        isGrpcFailure(x.grpcStatus);
      const { now } = driver;
      series.ended(x.status, failed, now - x.startedMs, x.request, now);
      if (policy !== null) countPolicy(policy, x, now);
    } else if (x.error !== null) countUnrouted(target, x, x.error, driver.now);
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

/** What the policy's route counts. What was answered here for an error is no status of the service. */
function countPolicy(policy: OutboundRouteSeries, x: Exchange, nowMs: number): void {
  const { error, answered, status, grpcStatus, request } = x;
  const ms = nowMs - x.startedMs;
  if (error === null) policy.ended(request, status, grpcStatus, "", ms, nowMs);
  else policy.ended(request, answered ? status : 0, grpcStatus, streamError(error), ms, nowMs);
}

/** A request that failed while it waited for an endpoint is one of the route that it would have had. */
function countUnrouted(target: Target, x: Exchange, { kind }: MeshError, nowMs: number): void {
  if (x.request.isConnect || (kind !== "failfast" && kind !== "overload")) return;
  const { policy } = matchRoute(target.routes, x.request) ?? { policy: null };
  if (policy !== null) countPolicy(policy, x, nowMs);
}

function tunnels(tunnel: HttpService, inner: HttpService): HttpService {
  return (x, reply) => {
    const { isConnect, absoluteForm } = x.request;
    return isConnect && !absoluteForm ? tunnel(x, reply) : inner(x, reply);
  };
}

function route(target: Target, random: () => number, inner: HttpService): HttpService {
  const { driver } = target.reach;
  return (x, reply) => {
    const found = matchRoute(target.routes, x.request);
    if (found === null) {
      const { method, path } = x.request;
      reply.fail(
        new MeshError(
          "no-route",
          `No route of ${target.snapshot?.authority} matches ${method} ${path.slice(0, 200)}`,
        ),
      );
      return NOTHING_MORE;
    }
    const matched = found.variants.length === 0 ? found : variantOf(found, driver.now, random);
    x.route = matched;
    x.chain = matched.chain;
    x.routeName = matched.route.name;
    matched.series.started();
    return inner(x, reply);
  };
}
