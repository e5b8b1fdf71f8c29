// GRPCRoutes (gateway.networking.k8s.io): where gRPC calls go, by service and method.

import type { GrpcMatch } from "../../model/attached-route.ts";
import type { Resource } from "../resource.ts";
import { readGrpcFilters } from "./route-filters.ts";
import { readGrpcMatches } from "./route-matches.ts";
import { readBackends } from "./route-refs.ts";
import { type RouteRow, routeRow } from "./route-row.ts";

export type GrpcRouteRow = RouteRow<GrpcMatch>;

/** Null: it is attached to nothing of the mesh. Without rules no call fits it. */
export function grpcRouteRow(r: Resource): GrpcRouteRow | null {
  return routeRow(r, "GRPCRoute", [], (rule) => ({
    matches: readGrpcMatches(rule),
    filters: readGrpcFilters(rule),
    backends: readBackends(rule, r, readGrpcFilters),
  }));
}
