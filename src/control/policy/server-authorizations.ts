// What ServerAuthorizations say of a Server, oldest first.

import type { Authentication, Authorization } from "../../model/policy.ts";
import {
  authorizesAt,
  type ServerAuthorizationRow,
  type ServerClients,
} from "../kinds/server-authorization.ts";
import type { ServerRow } from "../kinds/server.ts";
import type { Mesh } from "../mesh.ts";
import type { MeshOptions } from "../options.ts";
import { byAge } from "../resource.ts";
import { identityClients } from "./clients.ts";

/** Those of the Server's namespace that name or select it; the caller reads that namespace. */
export function serverAuthorizations(
  { cluster, options }: Mesh,
  server: ServerRow,
): readonly Authorization[] {
  return [...cluster.serverAuthorizations.group(`namespace ${server.namespace}`)]
    .filter((row) => authorizesAt(row, server))
    .sort(byAge)
    .map((row) => authorizationOf(row, options));
}

function authorizationOf(row: ServerAuthorizationRow, options: MeshOptions): Authorization {
  const { namespace, name } = row;
  return {
    origin: {
      group: "policy.linkerd.io",
      kind: "serverauthorization",
      namespace,
      name,
      port: 0,
    },
    networks: row.networks ?? options.clusterNetworks.map((cidr) => ({ cidr, except: [] })),
    authentication: authentication(row.clients, namespace, options),
  };
}

function authentication(clients: ServerClients, own: string, options: MeshOptions): Authentication {
  return clients.kind === "identities"
    ? identityClients(clients.identities, clients.accounts, own, options)
    : clients;
}
