// Counts requests by the routes of the ServiceProfile that the client's proxy names: `route_*` with
// direction="inbound". Below the filters, so that what they refuse is no request of the service's; a
// request whose profile is not known yet goes on uncounted.

import type { Exchange, HttpService } from "../../core/exchange.ts";
import { isFailure } from "../../model/route.ts";
import { DST_CANONICAL } from "../http/canonical.ts";
import { isGrpcFailure } from "../http/grpc.ts";
import { matchRoute } from "../http/match-route.ts";
import type { ProfileRoute, Profiles, ServiceProfile } from "./profiles.ts";

/** One connection's, which is mesh TLS: nobody else is believed. */
export function profiled(now: () => number, profiles: Profiles, inner: HttpService): HttpService {
  // Connections say the same name again and again.
  let name = "";
  let last: ServiceProfile | null = null;
  return (x, reply) => {
    const { request } = x;
    const at = request.find(DST_CANONICAL);
    if (at < 0) return inner(x, reply);
    const said = request.valueAt(at);
    if (last === null || !last.live || said !== name) {
      last = profiles.of(said);
      name = said;
    }
    if (last === null) return inner(x, reply);
    last.lastUsedMs = now();
    const route = matchRoute(last.routes, request);
    if (route !== null) {
      x.profileRoute = route;
      route.series.started();
    }
    return inner(x, reply);
  };
}

/** Counts how a request that `profiled` counted ended. */
export function profiledEnd(x: Exchange, ms: number, nowMs: number): void {
  const { route, series } = x.profileRoute as ProfileRoute;
  const failed = x.status === 0 || isFailure(x.status, route.responseClasses) ||
    isGrpcFailure(x.grpcStatus);
  series.ended(x.status, failed, ms, x.request, nowMs);
}
