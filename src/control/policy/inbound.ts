// The join behind `WatchPort`: what a port of a workload speaks and whom it lets in.

import { defaultOrigin } from "../../api/origin.ts";
import { DEFAULT_ROUTE } from "../../api/server-policy.ts";
import type {
  Authentication,
  Authorization,
  Network,
  ServerPolicy,
  ServerRoute,
} from "../../model/policy.ts";
import type { Reads } from "../join.ts";
import type { AuthorizationPolicyRow } from "../kinds/authorization.ts";
import type { PodRow } from "../kinds/pod.ts";
import type { ServerRow } from "../kinds/server.ts";
import type { Mesh } from "../mesh.ts";
import { isOpaqueOnPod, serverOf } from "../opaque.ts";
import { DEFAULT_POLICIES, type DefaultPolicy, type MeshOptions } from "../options.ts";
import { hasPort } from "../ports.ts";
import { byAge } from "../resource.ts";
import { accountIdentity, identityClients } from "./clients.ts";
import { serverRoutes } from "./inbound-routes.ts";
import { serverAuthorizations } from "./server-authorizations.ts";

const GROUP = "policy.linkerd.io";
const EVERYWHERE: readonly Network[] = [
  { cidr: "0.0.0.0/0", except: [] },
  { cidr: "::/0", except: [] },
];

/** Null: there is no such pod. */
export function serverPolicyOf(
  mesh: Mesh,
  reads: Reads,
  workload: { readonly namespace: string; readonly pod: string },
  port: number,
): ServerPolicy | null {
  reads.namespaces.add(workload.namespace);
  const pod = mesh.cluster.pods.get(`${workload.namespace}/${workload.pod}`);
  if (pod === null) return null;
  const server = serverOf(mesh, reads, pod, port);
  const policy = server === null
    ? withoutServer(mesh, reads, pod, port)
    : withServer(mesh, reads, server);
  // Bytes have no routes, and routes of objects stand alone.
  return policy.routes.length === 0 || policy.attached !== undefined
    ? policy
    : { ...policy, routes: [...probeRoutes(pod, port, mesh.options), ...policy.routes] };
}

/** The kubelet has no identity: its requests are admitted by their path, as Linkerd's are. */
function probeRoutes(pod: PodRow, port: number, options: MeshOptions): readonly ServerRoute[] {
  const networks = options.probeNetworks.map((cidr) => ({ cidr, except: [] }));
  if (networks.length === 0) return [];
  const origin = defaultOrigin("probe");
  return (pod.probes.get(port) ?? []).map((path) => ({
    ...DEFAULT_ROUTE,
    name: "probe",
    match: {
      kind: "all",
      of: [{ kind: "path-exact", path }, { kind: "method", method: "GET" }],
    },
    authorizations: [{ origin, networks, authentication: { kind: "unauthenticated" } }],
  }));
}

function withoutServer(mesh: Mesh, reads: Reads, pod: PodRow, port: number): ServerPolicy {
  const name = defaultPolicyOf(mesh, pod, port);
  const opaque = isOpaqueOnPod(mesh, reads, pod, port);
  return {
    origin: defaultOrigin(name),
    protocol: opaque ? "opaque" : "detect",
    detectMs: opaque ? 0 : mesh.options.detectMs,
    authorizations: defaultAuthorizations(name, mesh.options),
    routes: opaque ? [] : [DEFAULT_ROUTE],
    filters: [],
  };
}

/** Of the pod, its namespace, or the mesh. A name that is not known counts as none, as in Linkerd. */
function defaultPolicyOf(mesh: Mesh, pod: PodRow, port: number): DefaultPolicy {
  const namespace = mesh.cluster.namespaces.get(`/${pod.namespace}`)?.defaultPolicy ?? "";
  const known = (text: string) => DEFAULT_POLICIES.find((p) => p === text);
  const name = known(pod.defaultPolicy) ?? known(namespace) ?? mesh.options.defaultInboundPolicy;
  const { requireIdentityPorts: ports } = pod;
  if (ports === null || !hasPort(ports, port, pod.ports)) return name;
  return name === "all-unauthenticated"
    ? "all-authenticated"
    : name === "cluster-unauthenticated"
    ? "cluster-authenticated"
    : name;
}

/** The one authorization that a default policy gives; `deny` gives none. */
function defaultAuthorizations(name: DefaultPolicy, options: MeshOptions): Authorization[] {
  if (name === "deny") return [];
  const networks = name.startsWith("cluster-")
    ? options.clusterNetworks.map((cidr) => ({ cidr, except: [] }))
    : EVERYWHERE;
  const authentication: Authentication = name.endsWith("-authenticated")
    ? { kind: "identities", names: [], suffixes: [""] }
    : { kind: "unauthenticated" };
  return [{ origin: defaultOrigin(name), networks, authentication }];
}

function withServer(mesh: Mesh, reads: Reads, server: ServerRow): ServerPolicy {
  const { namespace, name, protocol } = server;
  const policies = [...mesh.cluster.authorizations.group(`namespace ${namespace}`)]
    .filter(({ target }) =>
      target.kind === "Namespace" || (target.kind === "Server" && target.name === name)
    )
    .sort(byAge);
  const bytes = protocol === "opaque" || protocol === "tls";
  const permits = (policy: AuthorizationPolicyRow) => authorizationOf(mesh, reads, policy);
  const attached = serverRoutes(mesh, server, permits);
  return {
    origin: { group: GROUP, kind: "server", namespace, name, port: 0 },
    protocol,
    detectMs: protocol === "detect" ? mesh.options.detectMs : 0,
    authorizations: [
      ...policies.flatMap((policy) => permits(policy) ?? []),
      ...serverAuthorizations(mesh, server),
      ...defaultAuthorizations(server.accessPolicy, mesh.options),
    ],
    routes: bytes ? [] : [DEFAULT_ROUTE],
    ...(attached === null ? {} : { attached }),
    filters: bytes ? [] : mesh.filters.refs({ kind: "Server", namespace, name }, null),
    // gRPC's part of the wire has none.
    ...(bytes || protocol === "grpc" ? {} : rateLimitOf(mesh, namespace, name)),
  };
}

/** Of several the oldest counts. */
function rateLimitOf(mesh: Mesh, namespace: string, name: string): Pick<ServerPolicy, "rateLimit"> {
  const [oldest] = [...mesh.cluster.rateLimits.group(`server ${namespace}/${name}`)].sort(byAge);
  if (oldest === undefined) return {};
  const { total, identity, overrides } = oldest;
  return {
    rateLimit: {
      origin: {
        group: GROUP,
        kind: "HTTPLocalRateLimitPolicy",
        namespace,
        name: oldest.name,
        port: 0,
      },
      total,
      identity,
      overrides: overrides.map(({ limit, clients }) => ({
        limit,
        identities: clients.map((c) => accountIdentity(c, namespace, mesh.options)),
      })),
    },
  };
}

/** Null: it refers to what does not exist, and permits nobody. */
function authorizationOf(
  mesh: Mesh,
  reads: Reads,
  policy: AuthorizationPolicyRow,
): Authorization | null {
  const { namespace, name } = policy;
  let networks = EVERYWHERE;
  let authentication: Authentication = { kind: "unauthenticated" };
  for (const ref of policy.required) {
    const at = ref.namespace === "" ? namespace : ref.namespace;
    reads.namespaces.add(at);
    switch (ref.kind) {
      case "NetworkAuthentication": {
        const row = mesh.cluster.networks.get(`${at}/${ref.name}`);
        if (row === null) return null;
        networks = row.networks;
        break;
      }
      case "MeshTLSAuthentication": {
        const row = mesh.cluster.meshTls.get(`${at}/${ref.name}`);
        if (row === null) return null;
        authentication = identityClients(row.identities, row.refs, row.namespace, mesh.options);
        break;
      }
      default:
        authentication = {
          kind: "identities",
          names: [accountIdentity(ref, namespace, mesh.options)],
          suffixes: [],
        };
    }
  }
  const origin = { group: GROUP, kind: "authorizationpolicy", namespace, name, port: 0 };
  return { origin, networks, authentication };
}
