// The status of routes: for each parent whether the route is in force there, and for
// those that clients go to whether its backends are found. Linkerd's conditions and reasons.

import type { Cluster } from "../cluster.ts";
import type { BackendRef, ParentRef } from "../kinds/route-refs.ts";
import type { RouteRow } from "../kinds/route-row.ts";
import { type ParentVerdict, parentVerdict } from "../policy/route-parents.ts";
import {
  accepted,
  type Condition,
  notAccepted,
  type ParentStatus,
  type StatusEntry,
} from "./entry.ts";

/** Accepted, by what became of it. */
const ACCEPTED: Readonly<Record<ParentVerdict, Condition>> = {
  accepted: accepted(),
  missing: notAccepted("NoMatchingParent"),
  headless: notAccepted("NoMatchingParent", "parent service must have a ClusterIP"),
  refused: notAccepted("NoMatchingParent", "EgressNetwork parent has not been accepted"),
  conflicted: notAccepted("RouteReasonConflicted"),
};

/** One entry for each route that is attached to something of the mesh. */
export function routeStatus(cluster: Cluster, clusterNetworks: readonly string[]): StatusEntry[] {
  const { httpRoutes, gatewayHttpRoutes, grpcRoutes, tlsRoutes, tcpRoutes } = cluster;
  return [httpRoutes, gatewayHttpRoutes, grpcRoutes, tlsRoutes, tcpRoutes].flatMap((table) =>
    [...table.rows.values()].map((route): StatusEntry => ({
      kind: `${route.group}/${route.kind}`,
      namespace: route.namespace,
      name: route.name,
      status: {
        parents: route.parents.map((p) => parentStatus(cluster, clusterNetworks, route, p)),
      },
    }))
  );
}

function parentStatus(
  cluster: Cluster,
  clusterNetworks: readonly string[],
  route: RouteRow<unknown>,
  parent: ParentRef,
): ParentStatus {
  const { kind, namespace, name, port } = parent;
  const condition = ACCEPTED[parentVerdict(cluster, clusterNetworks, route, parent)];
  const backends = route.rules.flatMap((rule) => rule.backends);
  return {
    parentRef: {
      group: kind === "Service" ? "core" : "policy.linkerd.io",
      ...{ kind, namespace, name },
      ...(port === 0 ? {} : { port }),
    },
    // What a Server's route leads to is the workload itself.
    conditions: kind === "Server" ? [condition] : [condition, resolved(cluster, backends, parent)],
  };
}

/** Of several backends that are not as they should be the first is told. */
function resolved(
  cluster: Cluster,
  backends: readonly BackendRef[],
  parent: ParentRef,
): Condition {
  for (const { to, name, namespace: own } of backends) {
    const namespace = own === "" ? parent.namespace : own;
    const key = `${namespace}/${name}`;
    const isService = to.kind === "Service" || (to.kind === "invalid" && to.isKind);
    if (isService) {
      if (cluster.services.get(key) === null) return unresolved("BackendNotFound");
    } else if (to.kind === "EgressNetwork") {
      if (cluster.egressNetworks.get(key) === null) return unresolved("BackendNotFound");
      if (
        parent.kind !== "EgressNetwork" || name !== parent.name || namespace !== parent.namespace
      ) {
        return unresolved(
          "InvalidKind",
          "EgressNetwork backend needs to be on a route that has an EgressNetwork parent",
        );
      }
    } else return unresolved("InvalidKind");
  }
  return { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "" };
}

function unresolved(reason: string, message = ""): Condition {
  return { type: "ResolvedRefs", status: "False", reason, message };
}
