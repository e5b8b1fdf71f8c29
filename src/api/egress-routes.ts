// The routes that end an egress network's policy → outbound.proto: what no route of an object names may
// leave, or may not. Refusals are the reference's: 403, PERMISSION_DENIED, `Forbidden` for bytes.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ClientPolicy } from "../model/profile.ts";
import {
  type Backend,
  type GrpcRoute,
  GrpcRouteSchema,
  type HttpRoute_FilterSchema,
  type OpaqueRoute,
  OpaqueRouteSchema,
  type TlsRoute,
  TlsRouteSchema,
} from "./gen/outbound_pb.ts";
import { filtersToWire } from "./filter-ref.ts";
import { defaultOrigin, originToWire } from "./origin.ts";
import { grpcRetryToWire } from "./retry-policy.ts";
import { timeoutsToWire } from "./policy-timeouts.ts";

const REFUSED = "traffic not allowed";
const STATUS = 403;
/** PERMISSION_DENIED */
const CODE = 7;

/** What is done with traffic that leaves the mesh where no route of an object says. */
export type EgressPolicy = "Allow" | "Deny";

/** `http-egress-allow`, and so on: what the reference calls such a route. */
export function egressRouteName(type: "http" | "grpc" | "tls" | "tcp", egress: EgressPolicy) {
  return `${type}-egress-${egress === "Allow" ? "allow" : "deny"}`;
}

/** Filters of the HTTP route; none lets its requests pass. */
export function egressHttpFilters(
  egress: EgressPolicy | undefined,
): MessageInitShape<typeof HttpRoute_FilterSchema>[] {
  if (egress !== "Deny") return [];
  return [{
    kind: { case: "failureInjector", value: { status: STATUS, message: REFUSED } },
  }];
}

/** For calls that no GRPCRoute names. */
export function egressGrpcRoute(
  egress: EgressPolicy,
  { routes: [of] }: ClientPolicy,
  backend: Backend,
): GrpcRoute {
  return create(GrpcRouteSchema, {
    metadata: originToWire(defaultOrigin(egressRouteName("grpc", egress))),
    rules: [{
      backends: { kind: { case: "firstAvailable", value: { backends: [{ backend }] } } },
      ...(of === undefined ? {} : timeoutsToWire(of)),
      filterChain: filtersToWire(of?.filters ?? []),
      ...(of === undefined || of.retry === null ? {} : { retry: grpcRetryToWire(of.retry) }),
      filters: egress === "Allow" ? [] : [{
        kind: { case: "failureInjector", value: { code: CODE, message: REFUSED } },
      }],
    }],
  });
}

/** For TLS connections to names that no TLSRoute has. */
export function egressTlsRoute(egress: EgressPolicy, backend: Backend): TlsRoute {
  return create(TlsRouteSchema, {
    metadata: originToWire(defaultOrigin(egressRouteName("tls", egress))),
    rules: [{
      backends: { kind: { case: "firstAvailable", value: { backends: [{ backend }] } } },
      filters: egress === "Allow" ? [] : [{ kind: { case: "forbidden", value: {} } }],
    }],
  });
}

/** For bytes that are no requests. */
export function egressOpaqueRoute(egress: EgressPolicy, backend: Backend): OpaqueRoute {
  return create(OpaqueRouteSchema, {
    metadata: originToWire(defaultOrigin(egressRouteName("tcp", egress))),
    rules: [{
      backends: { kind: { case: "firstAvailable", value: { backends: [{ backend }] } } },
      filters: egress === "Allow" ? [] : [{ kind: { case: "forbidden", value: {} } }],
    }],
  });
}
