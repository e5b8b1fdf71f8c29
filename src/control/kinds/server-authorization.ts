// ServerAuthorizations (policy.linkerd.io/v1beta1): who may reach Servers, said in one object. Older than
// AuthorizationPolicies, and beside them: each permits what it permits.

import type { Network } from "../../model/policy.ts";
import type { Field } from "../field.ts";
import type { Resource } from "../resource.ts";
import { readIdentity, readNetworks, type Ref } from "./authorization.ts";
import { readSelector, type Selector, selects } from "./selector.ts";
import type { ServerRow } from "./server.ts";

export interface ServerAuthorizationRow {
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  /** Of the same namespace: one by its name, or those with such labels. */
  readonly servers: string | Selector;
  /** Null: those of the cluster. */
  readonly networks: readonly Network[] | null;
  readonly clients: ServerClients;
}

export type ServerClients =
  | { readonly kind: "unauthenticated" }
  | { readonly kind: "mesh-tls-unauthenticated" }
  | {
    readonly kind: "identities";
    /** Exact names, `*`, or `*.suffix`. */
    readonly identities: readonly string[];
    readonly accounts: readonly Ref[];
  };

export function serverAuthorizationRow(r: Resource): ServerAuthorizationRow {
  const spec = r.body.at("spec");
  const client = spec.at("client");
  const networks = client.at("networks");
  return {
    namespace: r.namespace,
    name: r.name,
    createdMs: r.createdMs,
    servers: readServers(spec.at("server")),
    networks: networks.list(1024).length === 0 ? null : readNetworks(networks),
    clients: readClients(client),
  };
}

/** Whether it is for a Server of its namespace. */
export function authorizesAt({ servers }: ServerAuthorizationRow, server: ServerRow): boolean {
  return typeof servers === "string" ? servers === server.name : selects(servers, server.labels);
}

function readServers(field: Field): ServerAuthorizationRow["servers"] {
  const name = field.at("name");
  const selector = field.at("selector");
  if (name.isAbsent === selector.isAbsent) field.fail("needs exactly one of name and selector");
  return name.isAbsent ? readSelector(selector) : name.string();
}

/** As many as a proxy takes of one authorization. */
const MAX_CLIENTS = 1024;

function readClients(client: Field): ServerClients {
  const meshTls = client.at("meshTLS");
  if (client.at("unauthenticated").boolOr(false)) {
    if (!meshTls.isAbsent) client.fail("has both unauthenticated and meshTLS");
    return { kind: "unauthenticated" };
  }
  if (meshTls.isAbsent) client.fail("permits nobody: it needs unauthenticated or meshTLS");
  const identities = meshTls.at("identities").list(MAX_CLIENTS).map(readIdentity);
  const accounts = meshTls.at("serviceAccounts").list(MAX_CLIENTS).map((account): Ref => ({
    kind: "ServiceAccount",
    name: account.at("name").string(),
    namespace: account.at("namespace").stringOr(""),
  }));
  const named = identities.length + accounts.length;
  if (named > MAX_CLIENTS) meshTls.fail(`names ${named} clients, more than ${MAX_CLIENTS}`);
  const anyNamed = named > 0;
  if (meshTls.at("unauthenticatedTLS").boolOr(false)) {
    if (anyNamed) meshTls.fail("has both unauthenticatedTLS and identities or serviceAccounts");
    return { kind: "mesh-tls-unauthenticated" };
  }
  if (!anyNamed) {
    meshTls.fail("permits nobody: it needs identities, serviceAccounts or unauthenticatedTLS");
  }
  return { kind: "identities", identities, accounts };
}
