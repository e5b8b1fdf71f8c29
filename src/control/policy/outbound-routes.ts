// The routes of objects that clients of a Service, or of an EgressNetwork, are given: GRPCRoutes if there
// are any, else HTTPRoutes, TLSRoutes, TCPRoutes. A route of the parent's own namespace is for all
// clients, one of another namespace for clients of that namespace only.

import { defaultOrigin } from "../../api/origin.ts";
import type {
  AttachedBackend,
  AttachedRoute,
  AttachedRoutes,
  AttachedRule,
} from "../../model/attached-route.ts";
import type { ClientPolicy } from "../../model/profile.ts";
import { fullName } from "../destination/authority.ts";
import type { Reads } from "../join.ts";
import type { BackendRef, ParentRef } from "../kinds/route-refs.ts";
import { POLICY_GROUP } from "../kinds/route-refs.ts";
import type { RouteRow } from "../kinds/route-row.ts";
import type { Traffic } from "../kinds/traffic.ts";
import type { Mesh } from "../mesh.ts";
import { keyOf, type Resource } from "../resource.ts";
import { parentGroup } from "../route-table.ts";
import type { Table } from "../table.ts";
import { byPrecedence, parentVerdict } from "./route-parents.ts";

type RouteKinds = readonly AttachedRoutes["kind"][];
/** Of a port that says nothing of what it speaks. */
const EVERY_KIND: RouteKinds = ["grpc", "http", "tls", "tcp"];
/** Of a port that speaks HTTP/1, which carries no gRPC; HTTP/2; bytes. */
export const HTTP1_KINDS: RouteKinds = ["http"];
export const HTTP2_KINDS: RouteKinds = ["grpc", "http"];
export const BYTE_KINDS: RouteKinds = ["tcp"];

/** What clients go to, at one of its ports. */
export interface RouteParent {
  readonly kind: "Service" | "EgressNetwork";
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** What holds where a route says nothing; null: nothing does. */
  readonly traffic: Traffic | null;
}

/**
 * The routes in force at a parent for clients of the namespace `source`, in order of precedence; null:
 * there are none, and the default route counts. Of the kinds that the port may have, in their order, the
 * first that has any counts.
 */
export function outboundRoutes(
  mesh: Mesh,
  reads: Reads,
  parent: RouteParent,
  source: string,
  kinds: RouteKinds = EVERY_KIND,
): AttachedRoutes | null {
  reads.namespaces.add(parent.namespace);
  const { httpRoutes, gatewayHttpRoutes, grpcRoutes, tlsRoutes, tcpRoutes } = mesh.cluster;
  const of = <Match>(
    tables: readonly Table<Resource, RouteRow<Match>>[],
  ): readonly AttachedRoute<Match>[] =>
    tables.flatMap((table) => [...table.group(parentGroup(parent))])
      .filter((route) => isFor(route, parent, source) && isInForce(mesh, route, parent))
      .sort(byPrecedence)
      .map((route) => attached(mesh, reads, route, parent));
  for (const kind of kinds) {
    const found: AttachedRoutes = kind === "grpc"
      ? { kind, routes: of([grpcRoutes]) }
      : kind === "http"
      ? { kind, routes: of([httpRoutes, gatewayHttpRoutes]) }
      : { kind, routes: of([kind === "tls" ? tlsRoutes : tcpRoutes]) };
    if (found.routes.length > 0) return found;
  }
  return null;
}

/** What a port speaks with its routes; those of HTTP keep nobody from speaking something else. */
export function protocolWith(
  attached: AttachedRoutes | null,
  protocol: ClientPolicy["protocol"],
): ClientPolicy["protocol"] {
  switch (attached?.kind) {
    case "grpc":
      return "http";
    case "tls":
      return "tls";
    case "tcp":
      return "opaque";
    default:
      return protocol;
  }
}

function isFor(route: RouteRow<unknown>, parent: RouteParent, source: string): boolean {
  return route.namespace === parent.namespace || route.namespace === source;
}

function isInForce(mesh: Mesh, route: RouteRow<unknown>, parent: RouteParent): boolean {
  return route.parents.some((p) =>
    isAt(p, parent) &&
    parentVerdict(mesh.cluster, mesh.options.clusterNetworks, route, p) === "accepted"
  );
}

function isAt(ref: ParentRef, parent: RouteParent): boolean {
  return ref.kind === parent.kind && ref.namespace === parent.namespace &&
    ref.name === parent.name && (ref.port === 0 || ref.port === parent.port);
}

function attached<Match>(
  mesh: Mesh,
  reads: Reads,
  route: RouteRow<Match>,
  parent: RouteParent,
): AttachedRoute<Match> {
  const { group, kind, namespace, name, hosts } = route;
  const { traffic } = parent;
  const fallback = kind === "GRPCRoute" ? traffic?.grpcRetry : traffic?.retry;
  return {
    origin: { group, kind, namespace, name, port: 0 },
    hosts,
    rules: route.rules.map(({ matches, filters, backends, limits }): AttachedRule<Match> => ({
      matches,
      filters,
      backends: backends.map((ref) => backendOf(mesh, reads, ref, parent)),
      retry: route.retry ?? fallback ?? null,
      limits: limits ?? traffic?.limits ?? null,
    })),
    chain: mesh.filters.refs(
      { kind: parent.kind, namespace: parent.namespace, name: parent.name },
      name,
    ),
  };
}

/** A backend that is written without a namespace is of the parent's, as Linkerd has it. */
function backendOf(
  mesh: Mesh,
  reads: Reads,
  ref: BackendRef,
  parent: RouteParent,
): AttachedBackend {
  const { weight, name, filters, to } = ref;
  const namespace = ref.namespace === "" ? parent.namespace : ref.namespace;
  const of = (origin: AttachedBackend["origin"], target: AttachedBackend["to"]) => ({
    ...{ weight, origin, to: target },
    filters: target.kind === "invalid" ? [] : filters,
  });
  const invalid = (message: string) => ({ kind: "invalid" as const, message });
  if (to.kind === "invalid") return of(defaultOrigin("invalid"), invalid(to.message));
  reads.namespaces.add(namespace);
  if (to.kind === "Service") {
    const origin = { group: "core", kind: "Service", namespace, name, port: to.port };
    const service = mesh.cluster.services.get(keyOf({ namespace, name }));
    if (service === null) return of(origin, invalid(`Service not found ${name}`));
    const destination = `${fullName({ namespace, name }, mesh.options.clusterDomain)}:${to.port}`;
    return of(origin, { kind: "balancer", destination, hash: service.hash });
  }
  const port = to.port === 0 ? parent.port : to.port;
  const origin = { group: POLICY_GROUP, kind: "EgressNetwork", namespace, name, port };
  if (mesh.cluster.egressNetworks.get(keyOf({ namespace, name })) === null) {
    return of(origin, invalid(`EgressNetwork not found ${name}`));
  }
  if (parent.kind === "Service") {
    return of(origin, invalid("EgressNetwork backends attach to EgressNetwork parents only"));
  }
  return name === parent.name && namespace === parent.namespace
    ? of(origin, { kind: "parent" })
    : of(
      origin,
      invalid("Route with EgressNetwork backend needs to have the same EgressNetwork as a parent"),
    );
}
