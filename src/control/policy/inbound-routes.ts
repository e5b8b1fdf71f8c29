// The routes of objects that are attached to a Server, with those whom each of them admits. While there is
// one, there are neither the default route nor routes for probes: what no route names is not found.

import type { AttachedServerRoute, AttachedServerRoutes } from "../../model/attached-route.ts";
import type { Authorization } from "../../model/policy.ts";
import type { AuthorizationPolicyRow } from "../kinds/authorization.ts";
import type { RouteRow } from "../kinds/route-row.ts";
import type { ServerRow } from "../kinds/server.ts";
import type { Mesh } from "../mesh.ts";
import { byAge, type Resource } from "../resource.ts";
import { parentGroup } from "../route-table.ts";
import type { Table } from "../table.ts";
import { byPrecedence, parentVerdict } from "./route-parents.ts";

/**
 * In order of precedence; null: none is attached. A Server of gRPC has GRPCRoutes, one of HTTP or of a
 * protocol that is to be found out HTTPRoutes. Routes and policies are of the Server's namespace, which the
 * caller reads; `authorizationOf` says whom a policy permits, null: it refers to what does not exist.
 */
export function serverRoutes(
  mesh: Mesh,
  server: ServerRow,
  authorizationOf: (policy: AuthorizationPolicyRow) => Authorization | null,
): AttachedServerRoutes | null {
  if (server.protocol === "opaque" || server.protocol === "tls") return null;
  const { httpRoutes, gatewayHttpRoutes, grpcRoutes } = mesh.cluster;
  const of = <Match>(
    tables: readonly Table<Resource, RouteRow<Match>>[],
  ): readonly AttachedServerRoute<Match>[] =>
    tables
      .flatMap((table) => [...table.group(parentGroup({ ...server, kind: "Server" }))])
      .filter((route) => isInForce(mesh, route, server))
      .sort(byPrecedence)
      .map((route) => ({
        // Its namespace is the Server's: the wire does not say it on this side.
        origin: { group: route.group, kind: route.kind, namespace: "", name: route.name, port: 0 },
        hosts: route.hosts,
        rules: route.rules.map(({ matches, filters }) => ({ matches, filters })),
        authorizations: routeAuthorizations(mesh, route).flatMap((p) => authorizationOf(p) ?? []),
      }));
  if (server.protocol === "grpc") {
    const routes = of([grpcRoutes]);
    return routes.length === 0 ? null : { kind: "grpc", routes };
  }
  const routes = of([httpRoutes, gatewayHttpRoutes]);
  return routes.length === 0 ? null : { kind: "http", routes };
}

function isInForce(mesh: Mesh, route: RouteRow<unknown>, server: ServerRow): boolean {
  return route.parents.some((p) =>
    p.kind === "Server" && p.name === server.name &&
    parentVerdict(mesh.cluster, mesh.options.clusterNetworks, route, p) === "accepted"
  );
}

function routeAuthorizations(
  { cluster }: Mesh,
  { group, kind, namespace, name }: RouteRow<unknown>,
): readonly AuthorizationPolicyRow[] {
  return [...cluster.authorizations.group(`namespace ${namespace}`)]
    .filter(({ target }) => target.kind === kind && target.group === group && target.name === name)
    .sort(byAge);
}
