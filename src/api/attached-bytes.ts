// TLSRoutes and TCPRoutes of objects → outbound.proto, as the reference's controller writes them.
// `byte-policy.ts` reads them.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { AttachedRoute } from "../model/attached-route.ts";
import type { ClientPolicy } from "../model/profile.ts";
import { backendsToWire } from "./attached-outbound.ts";
import { egressOpaqueRoute, egressTlsRoute } from "./egress-routes.ts";
import {
  type OpaqueRoute,
  type OpaqueRoute_FilterSchema,
  OpaqueRouteSchema,
  type TlsRoute,
  type TlsRoute_FilterSchema,
  TlsRouteSchema,
} from "./gen/outbound_pb.ts";
import type { SniMatchSchema } from "./gen/tls_route_pb.ts";
import { originToWire } from "./origin.ts";
import { backendToWire } from "./policy-backend.ts";

/** What a policy with such routes speaks; null: it has none. */
export function attachedBytesToWire(policy: ClientPolicy):
  | { readonly case: "tls"; readonly value: { readonly routes: TlsRoute[] } }
  | { readonly case: "opaque"; readonly value: { readonly routes: OpaqueRoute[] } }
  | null {
  const { attached, egress } = policy;
  const backend = backendToWire(policy);
  const rest = egress === undefined || backend === null ? null : { egress, backend };
  if (attached?.kind === "tls") {
    const routes = attached.routes.map((route) => tlsRoute(route, policy));
    if (rest !== null) routes.push(egressTlsRoute(rest.egress, rest.backend));
    return { case: "tls", value: { routes } };
  }
  if (attached?.kind !== "tcp") return null;
  // Nothing chooses between several: the first counts.
  const [first] = attached.routes;
  const routes = first !== undefined
    ? [tcpRoute(first, policy)]
    : rest === null
    ? []
    : [egressOpaqueRoute(rest.egress, rest.backend)];
  return { case: "opaque", value: { routes } };
}

function tlsRoute({ origin, hosts, rules }: AttachedRoute<never>, policy: ClientPolicy): TlsRoute {
  return create(TlsRouteSchema, {
    metadata: originToWire(origin),
    snis: hosts.map(sniToWire),
    rules: rules.map(({ backends }) => ({
      backends: { kind: backendsToWire<TlsFilter>(backends, policy, noFilter, invalid) },
    })),
  });
}

function tcpRoute({ origin, rules }: AttachedRoute<never>, policy: ClientPolicy): OpaqueRoute {
  return create(OpaqueRouteSchema, {
    metadata: originToWire(origin),
    rules: rules.map(({ backends }) => ({
      backends: { kind: backendsToWire<OpaqueFilter>(backends, policy, noFilter, invalid) },
    })),
  });
}

function sniToWire(host: string): MessageInitShape<typeof SniMatchSchema> {
  if (!host.startsWith("*.")) return { match: { case: "exact", value: host } };
  const reverseLabels = host.slice(2).split(".").reverse();
  return { match: { case: "suffix", value: { reverseLabels } } };
}

type TlsFilter = MessageInitShape<typeof TlsRoute_FilterSchema>;
type OpaqueFilter = MessageInitShape<typeof OpaqueRoute_FilterSchema>;

function noFilter(): never {
  throw new Error("a route of bytes cannot carry filters of requests");
}

/** Of a backend that is none: its share of the connections ends at once. */
function invalid(message: string) {
  return { kind: { case: "invalid" as const, value: { message } } };
}
