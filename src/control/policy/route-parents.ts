// Whether a route is in force at a parent that it names: asked by the joins, which use only such routes,
// and by status, which says why not. Linkerd's rules.

import type { Cluster } from "../cluster.ts";
import type { ParentRef } from "../kinds/route-refs.ts";
import type { RouteRow } from "../kinds/route-row.ts";
import { keyOf } from "../resource.ts";
import { parentGroup } from "../route-table.ts";
import type { Table } from "../table.ts";
import { egressCondition } from "../status/policies.ts";

/** What becomes of a route at one of its parents. */
export type ParentVerdict =
  | "accepted"
  /** There is no such parent. */
  | "missing"
  /** A Service without an address of its own, which no policy can be asked for. */
  | "headless"
  /** An EgressNetwork that is itself not accepted. */
  | "refused"
  /** A route of a kind that goes before its own has the same parent. */
  | "conflicted";

/** `clusterNetworks` decide whether an EgressNetwork is one. */
export function parentVerdict(
  cluster: Cluster,
  clusterNetworks: readonly string[],
  { kind }: Pick<RouteRow<unknown>, "kind">,
  parent: ParentRef,
): ParentVerdict {
  const key = keyOf(parent);
  switch (parent.kind) {
    case "Server":
      if (cluster.servers.get(key) === null) return "missing";
      break;
    case "Service": {
      const service = cluster.services.get(key);
      if (service === null) return "missing";
      if (service.headless || service.externalName !== "") return "headless";
      break;
    }
    case "EgressNetwork": {
      const network = cluster.egressNetworks.get(key);
      if (network === null) return "missing";
      if (egressCondition(network, clusterNetworks).status !== "True") return "refused";
    }
  }
  const group = parentGroup(parent);
  for (const table of tablesBefore(cluster, kind)) {
    for (const other of table.group(group)) {
      if (other.parents.some((p) => sameParent(p, parent))) return "conflicted";
    }
  }
  return "accepted";
}

/** Of the kinds that go before this one at the same parent. */
function tablesBefore(
  { grpcRoutes, httpRoutes, gatewayHttpRoutes, tlsRoutes }: Cluster,
  kind: RouteRow<unknown>["kind"],
): readonly Pick<Table<never, Pick<RouteRow<unknown>, "parents">>, "group">[] {
  const before = [grpcRoutes, httpRoutes, gatewayHttpRoutes, tlsRoutes];
  return before.slice(0, { GRPCRoute: 0, HTTPRoute: 1, TLSRoute: 3, TCPRoute: 4 }[kind]);
}

function sameParent(a: ParentRef, b: ParentRef): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.name === b.name && a.port === b.port;
}

/** Oldest first, then by name: who goes first among rules that fit equally well. */
export function byPrecedence(a: RouteRow<unknown>, b: RouteRow<unknown>): number {
  const [left, right] = [a, b].map((r) => `${r.name}/${r.namespace}/${r.group}`) as [
    string,
    string,
  ];
  return a.createdMs !== b.createdMs
    ? (a.createdMs < b.createdMs ? -1 : 1)
    : left < right
    ? -1
    : left > right
    ? 1
    : 0;
}
