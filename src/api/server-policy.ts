// Server policies ↔ inbound.proto `Server`. Between `control/policy` and `proxy/discovery`; each
// message is whole.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type {
  Authentication,
  Authorization,
  Network,
  ServerPolicy,
  ServerRoute,
} from "../model/policy.ts";
import type { Origin } from "../model/profile.ts";
import type { RateLimit } from "../model/route-action.ts";
import type { Route } from "../model/route.ts";
import { networkFromWire, networkToWire } from "./addr.ts";
import { grpcServerRoutesToWire, httpServerRoutesToWire } from "./attached-inbound.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import { filtersFromWire, filtersToWire } from "./filter-ref.ts";
import {
  type Authn,
  Authn_PermitMeshTLSSchema,
  AuthnSchema,
  type Authz,
  type AuthzSchema,
  type GrpcRoute,
  type HttpRoute,
  type HttpRouteSchema,
  type ProxyProtocolSchema,
  type Server,
  ServerSchema,
} from "./gen/inbound_pb.ts";
import { grpcMatchFromWire, httpMatchFromWire, httpMatchToWire, MATCH_ALL } from "./http-match.ts";
import { defaultOrigin, originFromWire, originToWire } from "./origin.ts";
import { routesOf, rulesFromWire } from "./policy-routes.ts";
import { rateLimitFromWire, rateLimitToWire } from "./route-actions.ts";
import { isDnsLike } from "../model/identity.ts";
import { required, shown, WireError } from "./wire-error.ts";

/** Authorizations of one port, and names of one authorization. */
const MAX_LIST = 1024;

/** The message for a policy. gRPC without routes of objects, TLS and opaque bytes have none. */
export function serverPolicyToWire(policy: ServerPolicy): Server {
  const filterChain = filtersToWire(policy.filters);
  return create(ServerSchema, {
    protocol: { kind: protocolToWire(policy) },
    authorizations: policy.authorizations.map(authorizationToWire),
    labels: labelsOf(policy.origin),
    ...(filterChain === undefined ? {} : { filterChain }),
  });
}

function protocolToWire(
  policy: ServerPolicy,
): Exclude<MessageInitShape<typeof ProxyProtocolSchema>["kind"], undefined> {
  const { attached } = policy;
  const routes = attached?.kind === "http"
    ? httpServerRoutesToWire(attached.routes, authorizationToWire)
    : policy.routes.map(routeToWire);
  const limit = rateLimitToWire(policy.rateLimit ?? null);
  switch (policy.protocol) {
    case "detect":
      return {
        case: "detect",
        value: {
          timeout: durationToWire(policy.detectMs),
          httpRoutes: routes,
          ...(limit === null ? {} : { httpLocalRateLimit: limit }),
        },
      };
    case "http1":
    case "http2":
      return {
        case: policy.protocol,
        value: { routes, ...(limit === null ? {} : { localRateLimit: limit }) },
      };
    case "grpc":
      return {
        case: "grpc",
        value: {
          routes: attached?.kind === "grpc"
            ? grpcServerRoutesToWire(attached.routes, authorizationToWire)
            : [],
        },
      };
    default:
      return { case: policy.protocol, value: {} };
  }
}

function routeToWire(route: ServerRoute): MessageInitShape<typeof HttpRouteSchema> {
  const { authorizations = [] } = route;
  const filterChain = filtersToWire(route.filters);
  return {
    metadata: originToWire(defaultOrigin(route.name)),
    authorizations: authorizations.map(authorizationToWire),
    rules: [{
      matches: [httpMatchToWire(route.match)],
      ...(filterChain === undefined ? {} : { filterChain }),
    }],
  };
}

function labelsOf({ group, kind, name }: Origin): { [key: string]: string } {
  return { group, kind, name };
}

function authorizationToWire(a: Authorization): MessageInitShape<typeof AuthzSchema> {
  return {
    networks: a.networks.map((n) => ({
      net: networkToWire(n.cidr),
      except: n.except.map(networkToWire),
    })),
    authentication: permitToWire(a.authentication),
    labels: labelsOf(a.origin),
    metadata: originToWire(a.origin),
  };
}

function permitToWire(a: Authentication): Authn {
  if (a.kind === "unauthenticated") {
    return create(AuthnSchema, { permit: { case: "unauthenticated", value: {} } });
  }
  const clients = a.kind === "mesh-tls-unauthenticated"
    ? create(Authn_PermitMeshTLSSchema, { clients: { case: "unauthenticated", value: {} } })
    : create(Authn_PermitMeshTLSSchema, {
      clients: {
        case: "identities",
        value: {
          identities: a.names.map((name) => ({ name })),
          suffixes: a.suffixes.map((s) => ({ parts: s === "" ? [] : s.split(".") })),
        },
      },
    });
  return create(AuthnSchema, { permit: { case: "meshTLS", value: clients } });
}

/**
 * The policy of a message.
 *
 * Raises a `WireError` for anything that cannot be converted: the reader then denies everything on
 * that port, or keeps its last good policy. Authorizations of single routes add to the server's.
 */
export function serverPolicyFromWire(wire: Server): ServerPolicy {
  const { kind } = required(wire.protocol, "protocol");
  const protocol = kind.case;
  if (protocol === undefined) {
    throw new WireError("protocol", "is of a kind that is not known here");
  }
  const { group = "", kind: labelKind = "", name = "" } = wire.labels;
  if (name === "") throw new WireError("labels", "has no name");
  let routes: readonly ServerRoute[] = [];
  let rateLimit: RateLimit | null = null;
  let detectMs = 0;
  switch (kind.case) {
    case "detect": {
      const field = "protocol.detect.timeout";
      detectMs = durationFromWire(required(kind.value.timeout, field), field);
      routes = httpRoutes(kind.value.httpRoutes, "protocol.detect.http_routes");
      rateLimit = rateLimitFromWire(
        kind.value.httpLocalRateLimit,
        "protocol.detect.http_local_rate_limit",
      );
      break;
    }
    case "http1":
    case "http2":
      routes = httpRoutes(kind.value.routes, `protocol.${kind.case}.routes`);
      rateLimit = rateLimitFromWire(
        kind.value.localRateLimit,
        `protocol.${kind.case}.local_rate_limit`,
      );
      break;
    case "grpc":
      routes = grpcRoutes(kind.value.routes, "protocol.grpc.routes");
      break;
  }
  return {
    origin: { group, kind: labelKind, namespace: "", name, port: 0 },
    protocol,
    detectMs,
    authorizations: authorizationsFromWire(wire.authorizations, "authorizations"),
    routes: routes.length > 0 || protocol === "opaque" || protocol === "tls"
      ? routes
      : [DEFAULT_ROUTE],
    filters: filtersFromWire(wire.filterChain, "filter_chain"),
    ...(rateLimit === null ? {} : { rateLimit }),
  };
}

/** What a port without routes has: one that holds for every request. */
export const DEFAULT_ROUTE: Route = {
  name: "default",
  match: MATCH_ALL,
  responseClasses: [],
  labels: {},
  retry: null,
  timeoutMs: 0,
  filters: [],
};

function httpRoutes(routes: readonly HttpRoute[], field: string): readonly ServerRoute[] {
  return routesOf(
    rulesFromWire(
      routes,
      field,
      httpMatchFromWire,
      (_rule, _at, i) => routeAuth(routes[i], i, field),
    ),
    ({ authorizations }) => ({ authorizations }),
  ).map(withoutNobody);
}

function grpcRoutes(routes: readonly GrpcRoute[], field: string): readonly ServerRoute[] {
  return routesOf(
    rulesFromWire(
      routes,
      field,
      grpcMatchFromWire,
      (_rule, _at, i) => routeAuth(routes[i], i, field),
    ),
    ({ authorizations }) => ({ authorizations, isGrpc: true }),
  ).map(withoutNobody);
}

function routeAuth(route: HttpRoute | GrpcRoute | undefined, i: number, field: string) {
  return {
    authorizations: authorizationsFromWire(
      route?.authorizations ?? [],
      `${field}[${i}].authorizations`,
    ),
  };
}

/** A route that admits nobody by itself says nothing of it. */
function withoutNobody({ authorizations = [], ...route }: ServerRoute): ServerRoute {
  return authorizations.length === 0 ? route : { ...route, authorizations };
}

function authorizationsFromWire(wire: readonly Authz[], field: string): readonly Authorization[] {
  if (wire.length > MAX_LIST) throw new WireError(field, `has more than ${MAX_LIST} entries`);
  return wire.map((a, i) => authorizationFromWire(a, `${field}[${i}]`));
}

function authorizationFromWire(wire: Authz, field: string): Authorization {
  if (wire.networks.length === 0) throw new WireError(`${field}.networks`, "is empty");
  return {
    origin: authorizationOrigin(wire, field),
    networks: wire.networks.map((n, i): Network => ({
      cidr: networkFromWire(n.net, `${field}.networks[${i}].net`),
      except: n.except.map((e, k) => networkFromWire(e, `${field}.networks[${i}].except[${k}]`)),
    })),
    authentication: permitFromWire(wire.authentication, `${field}.authentication`),
  };
}

/** Old control planes say it in labels only. */
function authorizationOrigin(wire: Authz, field: string): Origin {
  if (wire.metadata !== undefined) return originFromWire(wire.metadata, `${field}.metadata`);
  const { group = "", kind = "", name = "" } = wire.labels;
  return { group, kind, namespace: "", name, port: 0 };
}

function permitFromWire(wire: Authn | undefined, field: string): Authentication {
  const { permit } = required(wire, field);
  if (permit.case === undefined) throw new WireError(`${field}.permit`, "is missing");
  if (permit.case === "unauthenticated") return { kind: "unauthenticated" };
  const { clients } = permit.value;
  if (clients.case === undefined) throw new WireError(`${field}.meshTLS.clients`, "is missing");
  if (clients.case === "unauthenticated") return { kind: "mesh-tls-unauthenticated" };
  const { identities, suffixes } = clients.value;
  if (identities.length + suffixes.length > MAX_LIST) {
    throw new WireError(`${field}.meshTLS.identities`, `has more than ${MAX_LIST} entries`);
  }
  return {
    kind: "identities",
    names: identities.map((id, i) => {
      if (id.name === "") {
        throw new WireError(`${field}.meshTLS.identities[${i}]`, `${shown(id.name)} is no name`);
      }
      return id.name;
    }),
    suffixes: suffixes.map((s, i) => {
      const suffix = s.parts.join(".");
      // An empty list is any identity; a list of something else must be a name.
      if (s.parts.length > 0 && !isDnsLike(suffix)) {
        throw new WireError(`${field}.meshTLS.suffixes[${i}]`, `${shown(suffix)} is no suffix`);
      }
      return suffix;
    }),
  };
}
