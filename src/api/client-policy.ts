// Client policies ↔ outbound.proto `OutboundPolicy`. Between `control/policy` and `proxy/discovery`;
// each message is whole.

import { create } from "@bufbuild/protobuf";
import type { ClientPolicy, Origin } from "../model/profile.ts";
import type { Route, RouteLimits } from "../model/route.ts";
import { bytesRoute, opaquePolicy, tlsPolicy } from "./byte-policy.ts";
import { durationToWire } from "./duration.ts";
import { egressGrpcRoute, egressHttpFilters, egressOpaqueRoute } from "./egress-routes.ts";
import { filtersToWire } from "./filter-ref.ts";
import {
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
} from "./gen/outbound_pb.ts";
import { grpcMatchFromWire, httpMatchFromWire, httpMatchToWire } from "./http-match.ts";
import { attachedBytesToWire } from "./attached-bytes.ts";
import { grpcRoutesToWire, httpRoutesToWire } from "./attached-outbound.ts";
import { accrualFromWire, accrualToWire } from "./failure-accrual.ts";
import { defaultOrigin, originFromWire, originToWire } from "./origin.ts";
import { type Leads, leadsFromWire, NOWHERE, onlyTarget, splitOf } from "./policy-backends.ts";
import { type FlatRule, routesOf, rulesFromWire } from "./policy-routes.ts";
import { backendToWire } from "./policy-backend.ts";
import { grpcCodesFromWire, retryFromWire, retryToWire } from "./retry-policy.ts";
import { limitsFromWire, timeoutsToWire } from "./policy-timeouts.ts";
import type { BuiltInFilter } from "./route-actions.ts";
import { required, WireError } from "./wire-error.ts";

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
    routes: [
      ...(policy.attached?.kind === "http" ? httpRoutesToWire(policy.attached.routes, policy) : []),
      ...(policy.attached?.kind === "http" && policy.egress === undefined
        ? []
        : policy.routes.map((r) => httpRouteToWire(r, policy))),
    ],
    failureAccrual: accrualToWire(policy.accrual),
  };
  const backend = backendToWire(policy);
  const opaque = {
    routes: [
      policy.egress === undefined || backend === null
        ? opaqueRouteToWire(policy)
        : egressOpaqueRoute(policy.egress, backend),
    ],
  };
  const bytes = attachedBytesToWire(policy);
  const kind = bytes !== null
    ? bytes
    : policy.protocol !== "opaque" && policy.attached?.kind === "grpc"
    ? {
      case: "grpc" as const,
      value: {
        routes: [
          ...grpcRoutesToWire(policy.attached.routes, policy),
          ...(policy.egress === undefined || backend === null
            ? []
            : [egressGrpcRoute(policy.egress, policy, backend)]),
        ],
        failureAccrual: accrualToWire(policy.accrual),
      },
    }
    : policy.protocol === "opaque"
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
      allowL5dRequestHeaders: route.takesRequestHeaders === true,
      filters: egressHttpFilters(policy.egress),
      ...(route.retry === null ? {} : { retry: retryToWire(route.retry) }),
      filterChain: filtersToWire(route.filters),
    })],
  });
}

/** A policy that leads nowhere forbids its bytes; proxies fail HTTP by the empty distribution. */
function opaqueRouteToWire(policy: ClientPolicy): OpaqueRoute {
  const backend = backendToWire(policy);
  return create(OpaqueRouteSchema, {
    // A policy that is a default gives its name to its routes.
    metadata: originToWire(
      policy.origin.kind === "default"
        ? policy.origin
        : defaultOrigin(backend === null ? "undefined-port" : "opaq"),
    ),
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

/**
 * The policy of a message.
 *
 * Raises a `WireError` for what breaks the reference's rules of validity, and for what would be
 * carried out wrongly here: filters of one of several backends. gRPC is read as HTTP.
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
      const bytes = bytesRoute(origin, opaque?.routes ?? [], "protocol.detect.opaque.routes");
      return {
        ...httpPolicy(origin, "detect", httpRules(routes, "protocol.detect.http1.routes")),
        ...(bytes === null ? {} : { bytes }),
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
      return tlsPolicy(origin, kind.value.routes, "protocol.tls.routes");
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

type LeadingRule = FlatRule & {
  readonly leads: Leads;
  /** Filters of each of its backends; null: none of several has any. */
  readonly each: ReturnType<typeof leadsFromWire>["each"];
  readonly limits: RouteLimits | null;
  readonly isGrpc?: boolean;
  readonly takesRequestHeaders: boolean;
};

function httpPolicy(
  origin: Origin,
  protocol: "detect" | "http",
  rules: readonly LeadingRule[],
): ClientPolicy {
  const one = onlyTarget(rules);
  // Where nothing leads anywhere, but filters answer, requests must still come as far as those.
  const answers = one !== null && one.forward === null && one.destination === "" &&
    rules.some((r) => r.builtIn.length > 0);
  const only = answers || rules.some((r) => r.each !== null) ? null : one;
  const more = ({ limits, isGrpc, takesRequestHeaders }: LeadingRule, leads: Leads) => ({
    ...(takesRequestHeaders ? { takesRequestHeaders } : {}),
    ...(limits === null ? {} : { limits }),
    ...(isGrpc === true ? { isGrpc } : {}),
    ...(only === null ? { split: splitOf(leads) } : {}),
  });
  const routes = routesOf(
    rules,
    (rule) => more(rule, rule.leads),
    (rule) =>
      (rule.each ?? []).map((builtIn, i) => {
        const { pick, to } = rule.leads;
        return {
          builtIn: builtIn as readonly BuiltInFilter[],
          more: more(rule, { pick, to: to.slice(i, i + 1) }),
        };
      }),
  );
  // With splits, the first one's parameters are those of every balancer.
  const target = only ??
    rules.flatMap((r) => r.leads.to).find((t) => t.target.destination !== "")?.target ?? NOWHERE;
  return { origin, protocol, routes, ...target, accrual: null };
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
    isGrpc: true,
    retry: retryFromWire(rule.retry, [], `${at}.retry`, grpcCodesFromWire(rule.retry?.conditions)),
  }));
}

/** What rules of both types have in the client's proxy; a backend's filters come after the rule's. */
function leadingRule(rule: HttpRoute_Rule | GrpcRoute_Rule, at: string) {
  const { builtIn, each, ...leads } = leadsFromWire(rule.backends?.kind, `${at}.backends`);
  return {
    limits: limitsFromWire(rule.timeouts, rule.requestTimeout, `${at}.timeouts`),
    takesRequestHeaders: rule.allowL5dRequestHeaders,
    builtIn: [...rule.filters, ...builtIn as readonly BuiltInFilter[]],
    leads,
    each,
  };
}
