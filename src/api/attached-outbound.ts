// Routes of objects → outbound.proto `HttpRoute` and `GrpcRoute`, as the reference's controller writes
// them: whole rules, which proxies put into order. `client-policy.ts` reads both.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type {
  AttachedBackend,
  AttachedRoute,
  AttachedRule,
  GrpcMatch,
  RouteFilter,
} from "../model/attached-route.ts";
import type { ClientPolicy } from "../model/profile.ts";
import type { RequestMatch, RouteLimits } from "../model/route.ts";
import {
  grpcMatchToWire,
  headersToWire,
  hostToWire,
  requestFilterToWire,
} from "./attached-parts.ts";
import { durationToWire } from "./duration.ts";
import { filtersToWire } from "./filter-ref.ts";
import {
  type Backend,
  type GrpcRoute,
  type GrpcRoute_FilterSchema,
  GrpcRouteSchema,
  type HttpRoute,
  type HttpRoute_FilterSchema,
  HttpRouteSchema,
} from "./gen/outbound_pb.ts";
import { httpMatchToWire } from "./http-match.ts";
import { originToWire } from "./origin.ts";
import { backendToWire, balancerToWire, noBackendToWire } from "./policy-backend.ts";
import { grpcRetryToWire, retryToWire } from "./retry-policy.ts";

/** What a request gets that its rule sends to a backend that is none. */
const INVALID_STATUS = 500;
/** The same for a gRPC call: UNKNOWN, which a status of 500 is read as. */
const INVALID_CODE = 2;

type HttpFilter = MessageInitShape<typeof HttpRoute_FilterSchema>;
type GrpcFilter = MessageInitShape<typeof GrpcRoute_FilterSchema>;

/** A distribution of either type. */
type Distribution<Filter> =
  | { case: "empty"; value: { $typeName?: never } }
  | { case: "firstAvailable"; value: { backends: { backend: Backend }[] } }
  | {
    case: "randomAvailable";
    value: {
      backends: { weight: number; backend: { backend: Backend; filters: Filter[] } }[];
    };
  };

/** In the order of the policy, which is that of precedence among equals. */
export function httpRoutesToWire(
  routes: readonly AttachedRoute<RequestMatch>[],
  policy: ClientPolicy,
): HttpRoute[] {
  return routes.map((route) =>
    create(HttpRouteSchema, {
      ...routeToWire(route),
      rules: route.rules.map((rule) => ({
        ...ruleToWire(rule, route),
        matches: rule.matches.map(httpMatchToWire),
        filters: rule.filters.map(httpFilter),
        backends: { kind: backendsToWire(rule.backends, policy, httpFilter, httpFailure) },
        ...(rule.retry === null ? {} : { retry: retryToWire(rule.retry) }),
      })),
    })
  );
}

/** The same for gRPC, whose filters change request headers only. */
export function grpcRoutesToWire(
  routes: readonly AttachedRoute<GrpcMatch>[],
  policy: ClientPolicy,
): GrpcRoute[] {
  return routes.map((route) =>
    create(GrpcRouteSchema, {
      ...routeToWire(route),
      rules: route.rules.map((rule) => ({
        ...ruleToWire(rule, route),
        matches: rule.matches.map(grpcMatchToWire),
        filters: rule.filters.map(grpcFilter),
        backends: { kind: backendsToWire(rule.backends, policy, grpcFilter, grpcFailure) },
        ...(rule.retry === null ? {} : { retry: grpcRetryToWire(rule.retry) }),
      })),
    })
  );
}

function routeToWire({ origin, hosts }: AttachedRoute<unknown>) {
  return { metadata: originToWire(origin), hosts: hosts.map(hostToWire) };
}

/** What rules of both types say in the same way. The whole time is said twice, for older proxies. */
function ruleToWire({ limits }: AttachedRule<unknown>, { chain }: AttachedRoute<unknown>) {
  const filterChain = filtersToWire(chain);
  const { requestMs, responseMs, idleMs }: RouteLimits = limits ??
    { requestMs: 0, responseMs: 0, idleMs: 0 };
  return {
    timeouts: {
      ...(requestMs === 0 ? {} : { request: durationToWire(requestMs) }),
      ...(responseMs === 0 ? {} : { response: durationToWire(responseMs) }),
      ...(idleMs === 0 ? {} : { idle: durationToWire(idleMs) }),
    },
    ...(requestMs === 0 ? {} : { requestTimeout: durationToWire(requestMs) }),
    ...(filterChain === undefined ? {} : { filterChain }),
  };
}

/** One backend that takes all of a rule's requests, or several by weight. */
export function backendsToWire<Filter>(
  backends: readonly AttachedBackend[],
  policy: ClientPolicy,
  filter: (of: RouteFilter) => Filter,
  failure: (message: string) => Filter,
): Distribution<Filter> {
  if (backends.length === 0) {
    const backend = backendToWire(policy);
    return backend === null
      ? { case: "empty", value: {} }
      : { case: "firstAvailable", value: { backends: [{ backend }] } };
  }
  return {
    case: "randomAvailable",
    value: {
      backends: backends.map((of) => ({
        weight: of.weight,
        backend: {
          backend: targetToWire(of, policy),
          filters: of.to.kind === "invalid" ? [failure(of.to.message)] : of.filters.map(filter),
        },
      })),
    },
  };
}

function targetToWire({ to, origin }: AttachedBackend, policy: ClientPolicy): Backend {
  switch (to.kind) {
    case "balancer":
      return balancerToWire(origin, to.destination, to.hash, policy);
    case "parent":
      return {
        ...backendToWire(policy) ?? noBackendToWire(origin),
        metadata: originToWire(origin),
      };
    case "invalid":
      return noBackendToWire(origin);
  }
}

function httpFilter(filter: RouteFilter): HttpFilter {
  return {
    kind: filter.kind === "response-headers"
      ? { case: "responseHeaderModifier", value: headersToWire(filter) }
      : requestFilterToWire(filter) ?? { case: undefined },
  };
}

function httpFailure(message: string): HttpFilter {
  return { kind: { case: "failureInjector", value: { status: INVALID_STATUS, message } } };
}

function grpcFilter(filter: RouteFilter): GrpcFilter {
  if (filter.kind !== "request-headers") {
    throw new Error(`a gRPC route cannot carry a filter of kind ${filter.kind}`);
  }
  return { kind: { case: "requestHeaderModifier", value: headersToWire(filter) } };
}

function grpcFailure(message: string): GrpcFilter {
  return { kind: { case: "failureInjector", value: { code: INVALID_CODE, message } } };
}
