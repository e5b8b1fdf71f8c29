// Client policies ↔ outbound.proto `OutboundPolicy`. Between `control/policy` and `proxy/discovery`;
// each message is whole.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Endpoint } from "../model/endpoint.ts";
import type { ClientPolicy, Origin } from "../model/profile.ts";
import type { Route, RouteLimits, RouteSplit } from "../model/route.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import { endpointFromWire, endpointToWire } from "./endpoint.ts";
import { filtersToWire } from "./filter-ref.ts";
import type { Timeouts, TimeoutsSchema } from "./gen/http_route_pb.ts";
import {
  type Backend,
  BackendSchema,
  type GrpcRoute,
  type GrpcRoute_Rule,
  type HttpRoute,
  HttpRoute_DistributionSchema,
  type HttpRoute_Rule,
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
import { type FlatRule, routesOf, rulesFromWire } from "./policy-routes.ts";
import { grpcCodesFromWire, retryFromWire, retryToWire } from "./retry-policy.ts";
import type { BuiltInFilter } from "./route-actions.ts";
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
      ...timeoutsToWire(route),
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
 * carried out wrongly here: query matches, filters of one of several backends. gRPC is read as HTTP, TLS as opaque.
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

/** Where the requests of a rule go: to one place, or to several. */
interface Leads {
  readonly pick: RouteSplit["pick"];
  readonly to: readonly { readonly target: Target; readonly weight: number }[];
}
type LeadingRule = FlatRule & { readonly leads: Leads; readonly limits: RouteLimits | null };

const NOWHERE: Target = { destination: "", forward: null, defaultRttMs: 30, decayMs: 10_000 };
const TO_NOWHERE: Leads = { pick: "first", to: [{ target: NOWHERE, weight: 1 }] };

function httpPolicy(
  origin: Origin,
  protocol: "detect" | "http",
  rules: readonly LeadingRule[],
): ClientPolicy {
  const only = onlyTarget(rules);
  const routes = routesOf(
    rules,
    ({ leads, limits, at }) => ({
      ...(limits === null ? {} : { limits }),
      ...(only === null ? { split: splitOf(leads, `${at}.backends`) } : {}),
    }),
  );
  // With splits, the first one's parameters are those of every balancer.
  const target = only ??
    rules.flatMap((r) => r.leads.to).find((t) => t.target.destination !== "")?.target ?? NOWHERE;
  return { origin, protocol, routes, ...target, accrual: null };
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
    // Each filter that there is closes it, also one of a backend.
    if (rule.filters.length > 0) return { leads: TO_NOWHERE };
    const { builtIn, ...leads } = leadsFromWire(rule.backends?.kind, `${at}.rules[0].backends`);
    return { leads: builtIn.length > 0 ? TO_NOWHERE : leads };
  });
  const target = onlyTarget(targets);
  if (target === null) {
    throw new WireError(field, "leads to several backends, which bytes without requests cannot");
  }
  return { origin, protocol: "opaque", routes: [], ...target, accrual: null };
}

/** The one place that all rules of a policy lead to, or null: there are several. */
function onlyTarget(rules: readonly { readonly leads: Leads }[]): Target | null {
  const all = rules.flatMap((r) => r.leads.to.map((t) => t.target));
  const [first, ...rest] = all;
  if (first === undefined) return NOWHERE;
  const same = JSON.stringify(first);
  return rest.every((t) => JSON.stringify(t) === same) ? first : null;
}

/** A part that leads nowhere fails its share of the requests, as a backend without endpoints does. */
function splitOf({ pick, to }: Leads, field: string): RouteSplit {
  return {
    pick,
    backends: to.map(({ target, weight }) => {
      if (target.forward !== null) {
        throw new WireError(field, "has a backend that forwards beside others: not supported");
      }
      return { authority: target.destination, weight };
    }),
  };
}

function httpRules(routes: readonly HttpRoute[], field: string): LeadingRule[] {
  return rulesFromWire(routes, field, httpMatchFromWire, (rule, at) => ({
    ...leadingRule(rule, at),
    retry: retryFromWire(rule.retry, rule.retry?.conditions?.statusRanges ?? [], `${at}.retry`),
  }));
}

function grpcRules(routes: readonly GrpcRoute[], field: string): LeadingRule[] {
  return rulesFromWire(routes, field, grpcMatchFromWire, (rule, at) => ({
    ...leadingRule(rule, at),
    retry: retryFromWire(rule.retry, [], `${at}.retry`, grpcCodesFromWire(rule.retry?.conditions)),
  }));
}

/** What rules of both types have in the client's proxy; a backend's filters come after the rule's. */
function leadingRule(rule: HttpRoute_Rule | GrpcRoute_Rule, at: string) {
  const { builtIn, ...leads } = leadsFromWire(rule.backends?.kind, `${at}.backends`);
  return {
    limits: limitsFromWire(rule.timeouts, rule.requestTimeout, `${at}.timeouts`),
    builtIn: [...rule.filters, ...builtIn as readonly BuiltInFilter[]],
    leads,
  };
}

/** Null: there is none. The deprecated field counts only where the newer ones are absent. */
function limitsFromWire(
  wire: Timeouts | undefined,
  deprecated: Duration | undefined,
  field: string,
): RouteLimits | null {
  const ms = (of: Duration | undefined, name: string) =>
    of === undefined ? 0 : durationFromWire(of, `${field}.${name}`);
  const limits = {
    requestMs: ms(wire === undefined ? deprecated : wire.request, "request"),
    responseMs: ms(wire?.response, "response"),
    idleMs: ms(wire?.idle, "idle"),
  };
  return Object.values(limits).some((n) => n > 0) ? limits : null;
}

/** A policy has no time-out of the head alone: it is the exchange's. */
function timeoutsToWire(
  { timeoutMs, limits }: Route,
): { readonly timeouts?: MessageInitShape<typeof TimeoutsSchema> } {
  const { requestMs, responseMs, idleMs } = limits ??
    { requestMs: timeoutMs, responseMs: 0, idleMs: 0 };
  if (requestMs + responseMs + idleMs === 0) return {};
  return {
    timeouts: {
      ...(requestMs === 0 ? {} : { request: durationToWire(requestMs) }),
      ...(responseMs === 0 ? {} : { response: durationToWire(responseMs) }),
      ...(idleMs === 0 ? {} : { idle: durationToWire(idleMs) }),
    },
  };
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
  readonly filters: readonly AnyFilter[];
}
/** Those of opaque and TLS routes say no whatever they are. */
type AnyFilter = { readonly kind: { readonly case?: string | undefined } };

/** Backends of one rule. */
const MAX_BACKENDS = 64;

function leadsFromWire(
  wire: Distribution | undefined,
  field: string,
): Leads & { readonly builtIn: readonly AnyFilter[] } {
  if (wire?.case === undefined) throw new WireError(field, "is missing");
  if (wire.case === "empty") return { ...TO_NOWHERE, builtIn: [] };
  const pick = wire.case === "firstAvailable" ? "first" : "random";
  const backends = wire.case === "firstAvailable"
    ? wire.value.backends.map((backend) => ({ backend, weight: 1 }))
    : wire.value.backends.filter((b) => b.weight > 0);
  if (backends.length === 0) throw new WireError(`${field}.backends`, "is empty");
  if (backends.length > MAX_BACKENDS) {
    throw new WireError(`${field}.backends`, `has more than ${MAX_BACKENDS} entries`);
  }
  const to = backends.map(({ backend, weight }, i) => ({
    target: targetFromWire(required(backend, field), `${field}.backends[${i}]`),
    weight,
  }));
  const [only, ...more] = backends;
  const builtIn = only?.backend?.filters ?? [];
  // What is done to the requests of one of several backends cannot be said by a route's filters.
  if (more.length > 0 && backends.some((b) => (b.backend?.filters.length ?? 0) > 0)) {
    throw new WireError(
      `${field}.backends`,
      "has filters of one of several backends: not supported",
    );
  }
  // A backend without a kind fails its requests; what its filters would have answered does not matter.
  return { pick, to, builtIn: only?.backend?.backend?.kind.case === undefined ? [] : builtIn };
}

function targetFromWire(wire: RouteBackend, field: string): Target {
  const backend = required(wire.backend, `${field}.backend`);
  required(backend.metadata, `${field}.backend.metadata`);
  required(backend.queue?.failfastTimeout, `${field}.backend.queue.failfast_timeout`);
  if (backend.kind.case === undefined) return NOWHERE;
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
