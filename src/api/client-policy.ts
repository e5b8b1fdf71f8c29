// Client policies ↔ outbound.proto `OutboundPolicy`. Between `control/policy` and `proxy/discovery`;
// each message is whole. Read for what is spoken so far: one balancer or one address per policy.

import { create } from "@bufbuild/protobuf";
import type { Endpoint } from "../model/endpoint.ts";
import type { ClientPolicy, Origin } from "../model/profile.ts";
import type { Route } from "../model/route.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import { endpointFromWire, endpointToWire } from "./endpoint.ts";
import { filtersFromWire, filtersToWire } from "./filter-ref.ts";
import type { Timeouts } from "./gen/http_route_pb.ts";
import {
  type Backend,
  BackendSchema,
  type GrpcRoute,
  type HttpRoute,
  HttpRoute_DistributionSchema,
  HttpRoute_RuleSchema,
  HttpRouteSchema,
  type OpaqueRoute,
  OpaqueRoute_DistributionSchema,
  OpaqueRoute_FilterSchema,
  OpaqueRoute_RuleSchema,
  OpaqueRouteSchema,
  type OutboundPolicy,
  OutboundPolicySchema,
  type TlsRoute,
} from "./gen/outbound_pb.ts";
import { grpcMatchFromWire, httpMatchFromWire, httpMatchToWire } from "./http-match.ts";
import { accrualFromWire, accrualToWire } from "./failure-accrual.ts";
import { defaultOrigin, originFromWire, originToWire } from "./origin.ts";
import { type FlatRule, refuseBuiltIn, routesOf } from "./policy-routes.ts";
import { grpcCodesFromWire, retryFromWire, retryToWire } from "./retry-policy.ts";
import { required, WireError } from "./wire-error.ts";
import type { Duration } from "@bufbuild/protobuf/wkt";

/** Values of the reference that proxies require and then replace by their own settings. */
const QUEUE = { capacity: 100, failfastTimeout: durationToWire(3000) };

/**
 * The message for a policy, with the parts that proxies of the reference require. `h2c`: the service
 * speaks HTTP/2 only.
 */
export function clientPolicyToWire(
  policy: ClientPolicy,
  detectMs: number,
  h2c = false,
): OutboundPolicy {
  const http = {
    routes: policy.routes.map((r) => httpRouteToWire(r, policy)),
    failureAccrual: accrualToWire(policy.accrual),
  };
  const opaque = { routes: [opaqueRouteToWire(policy)] };
  const kind = policy.protocol === "opaque"
    ? { case: "opaque" as const, value: opaque }
    : policy.protocol === "http"
    ? { case: h2c ? "http2" as const : "http1" as const, value: http }
    : {
      case: "detect" as const,
      value: { timeout: durationToWire(detectMs), opaque, http1: http, http2: http },
    };
  return create(OutboundPolicySchema, {
    metadata: originToWire(policy.origin),
    protocol: { kind },
  });
}

function httpRouteToWire(route: Route, policy: ClientPolicy): HttpRoute {
  const backend = backendToWire(policy);
  return create(HttpRouteSchema, {
    metadata: originToWire(defaultOrigin(route.name)),
    rules: [create(HttpRoute_RuleSchema, {
      matches: [httpMatchToWire(route.match)],
      backends: create(HttpRoute_DistributionSchema, {
        kind: backend === null
          ? { case: "empty", value: {} }
          : { case: "firstAvailable", value: { backends: [{ backend }] } },
      }),
      timeouts: route.timeoutMs === 0 ? undefined : { request: durationToWire(route.timeoutMs) },
      ...(route.retry === null ? {} : { retry: retryToWire(route.retry) }),
      filterChain: filtersToWire(route.filters),
    })],
  });
}

/** A policy that leads nowhere forbids its bytes; proxies fail HTTP by the empty distribution. */
function opaqueRouteToWire(policy: ClientPolicy): OpaqueRoute {
  const backend = backendToWire(policy);
  return create(OpaqueRouteSchema, {
    metadata: originToWire(backend === null ? policy.origin : defaultOrigin("opaq")),
    rules: [create(OpaqueRoute_RuleSchema, {
      backends: create(OpaqueRoute_DistributionSchema, {
        kind: backend === null
          ? { case: "empty", value: {} }
          : { case: "firstAvailable", value: { backends: [{ backend }] } },
      }),
      filters: backend === null
        ? [create(OpaqueRoute_FilterSchema, { kind: { case: "forbidden", value: {} } })]
        : [],
    })],
  });
}

function backendToWire(policy: ClientPolicy): Backend | null {
  const { destination, forward, defaultRttMs, decayMs } = policy;
  const common = { metadata: originToWire(policy.origin), queue: QUEUE };
  if (forward !== null) {
    return create(BackendSchema, {
      ...common,
      kind: { case: "forward", value: endpointToWire(forward) },
    });
  }
  if (destination === "") return null;
  return create(BackendSchema, {
    ...common,
    kind: {
      case: "balancer",
      value: {
        discovery: { kind: { case: "dst", value: { path: destination } } },
        load: {
          case: "peakEwma",
          value: { defaultRtt: durationToWire(defaultRttMs), decay: durationToWire(decayMs) },
        },
      },
    },
  });
}

/**
 * The policy of a message.
 *
 * Raises a `WireError` for what breaks the reference's rules of validity, and for what would be
 * carried out wrongly here: built-in filters, query matches, routes to several backends. gRPC is read
 * as HTTP, TLS as opaque.
 */
export function clientPolicyFromWire(wire: OutboundPolicy): ClientPolicy {
  const origin = policyOrigin(wire);
  const { kind } = required(wire.protocol, "protocol");
  switch (kind.case) {
    case "detect": {
      const { timeout, opaque, http1, http2 } = kind.value;
      required(timeout, "protocol.detect.timeout");
      required(opaque, "protocol.detect.opaque");
      required(http2, "protocol.detect.http2");
      const { routes } = required(http1, "protocol.detect.http1");
      return {
        ...httpPolicy(origin, "detect", httpRules(routes, "protocol.detect.http1.routes")),
        accrual: accrualFromWire(http1?.failureAccrual, "protocol.detect.http1.failure_accrual"),
      };
    }
    case "http1":
    case "http2":
      return {
        ...httpPolicy(origin, "http", httpRules(kind.value.routes, `protocol.${kind.case}.routes`)),
        ...(kind.case === "http2" ? { http2Only: true } : {}),
        accrual: accrualFromWire(
          kind.value.failureAccrual,
          `protocol.${kind.case}.failure_accrual`,
        ),
      };
    case "grpc":
      return {
        ...httpPolicy(origin, "http", grpcRules(kind.value.routes, "protocol.grpc.routes")),
        http2Only: true,
        accrual: accrualFromWire(kind.value.failureAccrual, "protocol.grpc.failure_accrual"),
      };
    case "opaque":
      return opaquePolicy(origin, kind.value.routes, "protocol.opaque.routes");
    case "tls":
      return opaquePolicy(origin, kind.value.routes, "protocol.tls.routes");
    default:
      throw new WireError("protocol", "is of a kind that is not known here");
  }
}

function policyOrigin(wire: OutboundPolicy): Origin {
  const origin = originFromWire(wire.metadata, "metadata");
  if (origin.kind !== "default") {
    for (const key of ["group", "kind", "name", "namespace"] as const) {
      if (origin[key] === "") throw new WireError(`metadata.resource.${key}`, "is empty");
    }
  }
  return origin;
}

type Target = Pick<ClientPolicy, "destination" | "forward" | "defaultRttMs" | "decayMs">;
type TargetedRule = FlatRule & { readonly target: Target };

const NOWHERE: Target = { destination: "", forward: null, defaultRttMs: 30, decayMs: 10_000 };

function httpPolicy(
  origin: Origin,
  protocol: "detect" | "http",
  rules: readonly TargetedRule[],
): ClientPolicy {
  return { origin, protocol, routes: routesOf(rules), ...onlyTarget(rules), accrual: null };
}

function opaquePolicy(
  origin: Origin,
  routes: readonly (OpaqueRoute | TlsRoute)[],
  field: string,
): ClientPolicy {
  const targets = routes.map((route, i) => {
    const at = `${field}[${i}]`;
    const [rule, ...more] = route.rules;
    if (rule === undefined || more.length > 0) {
      throw new WireError(`${at}.rules`, `has ${route.rules.length} entries, not one`);
    }
    const closed = rule.filters.length > 0;
    const target = closed
      ? NOWHERE
      : targetFromWire(rule.backends?.kind, `${at}.rules[0].backends`);
    return { target, field: at };
  });
  return { origin, protocol: "opaque", routes: [], ...onlyTarget(targets), accrual: null };
}

/** All rules of a policy lead to the same place, or it cannot be carried out here. */
function onlyTarget(rules: readonly { readonly target: Target; readonly field: string }[]): Target {
  const [first, ...rest] = rules;
  if (first === undefined) return NOWHERE;
  for (const { target, field } of rest) {
    if (JSON.stringify(target) !== JSON.stringify(first.target)) {
      throw new WireError(field, "leads to another backend than the first route: not supported");
    }
  }
  return first.target;
}

function httpRules(routes: readonly HttpRoute[], field: string): TargetedRule[] {
  return routes.flatMap((route, i) =>
    route.rules.map((rule, j) => {
      const at = `${field}[${i}].rules[${j}]`;
      refuseBuiltIn(rule.filters, at);
      return {
        metadata: route.metadata,
        hosts: route.hosts,
        matches: rule.matches.map((m, k) => httpMatchFromWire(m, `${at}.matches[${k}]`)),
        filters: filtersFromWire(rule.filterChain, `${at}.filter_chain`),
        retry: retryFromWire(
          rule.retry,
          rule.retry?.conditions?.statusRanges ?? [],
          `${at}.retry`,
        ),
        timeoutMs: timeoutFromWire(rule.timeouts, rule.requestTimeout, `${at}.timeouts`),
        field: `${field}[${i}]`,
        target: targetFromWire(rule.backends?.kind, `${at}.backends`),
      };
    })
  );
}

function grpcRules(routes: readonly GrpcRoute[], field: string): TargetedRule[] {
  return routes.flatMap((route, i) =>
    route.rules.map((rule, j) => {
      const at = `${field}[${i}].rules[${j}]`;
      refuseBuiltIn(rule.filters, at);
      return {
        metadata: route.metadata,
        hosts: route.hosts,
        matches: rule.matches.map((m, k) => grpcMatchFromWire(m, `${at}.matches[${k}]`)),
        filters: filtersFromWire(rule.filterChain, `${at}.filter_chain`),
        retry: retryFromWire(
          rule.retry,
          [],
          `${at}.retry`,
          grpcCodesFromWire(rule.retry?.conditions),
        ),
        timeoutMs: timeoutFromWire(rule.timeouts, rule.requestTimeout, `${at}.timeouts`),
        field: `${field}[${i}]`,
        target: targetFromWire(rule.backends?.kind, `${at}.backends`),
      };
    })
  );
}

/** The shortest of those that are set: a route knows one time-out. */
function timeoutFromWire(
  wire: Timeouts | undefined,
  deprecated: Duration | undefined,
  field: string,
): number {
  const set = [wire?.request, wire?.response, wire === undefined ? deprecated : undefined]
    .filter((d) => d !== undefined)
    .map((d) => durationFromWire(d, field))
    .filter((ms) => ms > 0);
  return set.length === 0 ? 0 : Math.min(...set);
}

/** A distribution of any route type; they differ only in their filters' types. */
type Distribution =
  | { case: "empty"; value: object }
  | { case: "firstAvailable"; value: { backends: readonly RouteBackend[] } }
  | {
    case: "randomAvailable";
    value: {
      backends: readonly { readonly backend?: RouteBackend | undefined; readonly weight: number }[];
    };
  }
  | { case: undefined; value?: undefined };

interface RouteBackend {
  readonly backend?: Backend | undefined;
  readonly filters: readonly { readonly kind: { readonly case?: string | undefined } }[];
}

function targetFromWire(wire: Distribution | undefined, field: string): Target {
  if (wire?.case === undefined) throw new WireError(field, "is missing");
  if (wire.case === "empty") return NOWHERE;
  const backends = wire.case === "firstAvailable"
    ? wire.value.backends
    : wire.value.backends.filter((b) => b.weight > 0).map((b) => required(b.backend, field));
  const [only, ...more] = backends;
  if (only === undefined) throw new WireError(`${field}.backends`, "is empty");
  if (more.length > 0) {
    throw new WireError(`${field}.backends`, "names several backends: not supported");
  }
  const backend = required(only.backend, `${field}.backends[0].backend`);
  required(backend.metadata, `${field}.backends[0].backend.metadata`);
  required(backend.queue?.failfastTimeout, `${field}.backends[0].backend.queue.failfast_timeout`);
  // A backend without a kind fails its requests; what its filters would have answered does not matter.
  if (backend.kind.case === undefined) return NOWHERE;
  refuseBuiltIn(only.filters, `${field}.backends[0]`);
  if (backend.kind.case === "forward") {
    const forward: Endpoint = endpointFromWire(backend.kind.value, {}, `${field}.forward`);
    return { ...NOWHERE, forward };
  }
  return balancerFromWire(backend.kind.value, `${field}.balancer`);
}

function balancerFromWire(
  wire: Extract<Backend["kind"], { case: "balancer" }>["value"],
  field: string,
): Target {
  const destination = wire.discovery?.kind.value?.path ?? "";
  if (destination === "") throw new WireError(`${field}.discovery.dst.path`, "is missing");
  const load = required(wire.load.value, `${field}.load`);
  const duration = (wire: Duration | undefined, name: string) =>
    durationFromWire(required(wire, `${field}.load.${name}`), `${field}.load.${name}`);
  return {
    destination,
    forward: null,
    defaultRttMs: duration(load.defaultRtt, "default_rtt"),
    decayMs: duration(load.decay, "decay"),
  };
}
