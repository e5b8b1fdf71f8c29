// Routes of objects → inbound.proto `HttpRoute` and `GrpcRoute`: whole rules with those whom the route
// admits. `server-policy.ts` reads both.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  AttachedServerRoute,
  AttachedServerRoutes,
  RouteFilter,
} from "../model/attached-route.ts";
import type { Authorization } from "../model/policy.ts";
import {
  grpcMatchToWire,
  headersToWire,
  hostToWire,
  requestFilterToWire,
} from "./attached-parts.ts";
import type {
  AuthzSchema,
  GrpcRoute_FilterSchema,
  GrpcRouteSchema,
  HttpRoute_FilterSchema,
  HttpRouteSchema,
} from "./gen/inbound_pb.ts";
import { httpMatchToWire } from "./http-match.ts";
import { originToWire } from "./origin.ts";

type ToAuthz = (of: Authorization) => MessageInitShape<typeof AuthzSchema>;

/** Response headers are not changed on this side, as in the reference. */
export function httpServerRoutesToWire(
  routes: Extract<AttachedServerRoutes, { kind: "http" }>["routes"],
  authz: ToAuthz,
): MessageInitShape<typeof HttpRouteSchema>[] {
  return routes.map((route) => ({
    ...routeToWire(route, authz),
    rules: route.rules.map(({ matches, filters }) => ({
      matches: matches.map(httpMatchToWire),
      filters: filters.flatMap(httpFilter),
    })),
  }));
}

/** The same for gRPC. */
export function grpcServerRoutesToWire(
  routes: Extract<AttachedServerRoutes, { kind: "grpc" }>["routes"],
  authz: ToAuthz,
): MessageInitShape<typeof GrpcRouteSchema>[] {
  return routes.map((route) => ({
    ...routeToWire(route, authz),
    rules: route.rules.map(({ matches, filters }) => ({
      matches: matches.map(grpcMatchToWire),
      filters: filters.flatMap(grpcFilter),
    })),
  }));
}

/** A route's object is of the Server's namespace, which the wire does not say here. */
function routeToWire(
  { origin, hosts, authorizations }: AttachedServerRoute<unknown>,
  authz: ToAuthz,
) {
  return {
    metadata: originToWire(origin),
    hosts: hosts.map(hostToWire),
    authorizations: authorizations.map(authz),
  };
}

function httpFilter(filter: RouteFilter): MessageInitShape<typeof HttpRoute_FilterSchema>[] {
  const kind = requestFilterToWire(filter);
  return kind === null ? [] : [{ kind }];
}

function grpcFilter(filter: RouteFilter): MessageInitShape<typeof GrpcRoute_FilterSchema>[] {
  return filter.kind === "request-headers"
    ? [{ kind: { case: "requestHeaderModifier", value: headersToWire(filter) } }]
    : [];
}
