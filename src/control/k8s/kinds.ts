// Where the API server has each kind that the tables know: group, version and plural. Versions are
// those that Linkerd's controllers read; the API server converts what is stored in another.

/** A kind as a path of the API. */
export interface ApiKind {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** As in paths: `services`. */
  readonly plural: string;
}

const KINDS: Readonly<Record<string, readonly [version: string, plural: string]>> = {
  "/Namespace": ["v1", "namespaces"],
  "/Service": ["v1", "services"],
  "/Pod": ["v1", "pods"],
  "/Node": ["v1", "nodes"],
  "discovery.k8s.io/EndpointSlice": ["v1", "endpointslices"],
  "linkerd.io/ServiceProfile": ["v1alpha2", "serviceprofiles"],
  "workload.linkerd.io/ExternalWorkload": ["v1beta1", "externalworkloads"],
  "policy.linkerd.io/Server": ["v1beta3", "servers"],
  "policy.linkerd.io/ServerAuthorization": ["v1beta1", "serverauthorizations"],
  "policy.linkerd.io/AuthorizationPolicy": ["v1alpha1", "authorizationpolicies"],
  "policy.linkerd.io/MeshTLSAuthentication": ["v1alpha1", "meshtlsauthentications"],
  "policy.linkerd.io/NetworkAuthentication": ["v1alpha1", "networkauthentications"],
  "policy.linkerd.io/HTTPRoute": ["v1beta3", "httproutes"],
  "policy.linkerd.io/HTTPLocalRateLimitPolicy": ["v1alpha1", "httplocalratelimitpolicies"],
  "policy.linkerd.io/EgressNetwork": ["v1alpha1", "egressnetworks"],
  "gateway.networking.k8s.io/HTTPRoute": ["v1", "httproutes"],
  "gateway.networking.k8s.io/GRPCRoute": ["v1", "grpcroutes"],
  "gateway.networking.k8s.io/TLSRoute": ["v1alpha2", "tlsroutes"],
  "gateway.networking.k8s.io/TCPRoute": ["v1alpha2", "tcproutes"],
  "tulle.dev/WasmFilter": ["v1alpha1", "wasmfilters"],
};

/** The kind of a table, such as `policy.linkerd.io/Server`. Throws for one that this list forgot. */
export function apiKind(name: string): ApiKind {
  const known = KINDS[name];
  if (known === undefined) throw new Error(`${name} has no place in the Kubernetes API`);
  const cut = name.indexOf("/");
  const [version, plural] = known;
  return { group: name.slice(0, cut), kind: name.slice(cut + 1), version, plural };
}

/** `policy.linkerd.io/v1beta3`, as objects say it. */
export function apiVersion({ group, version }: ApiKind): string {
  return group === "" ? version : `${group}/${version}`;
}

/** The path of all objects of a kind, or of those in a namespace. */
export function kindPath(kind: ApiKind, namespace: string | null = null): string {
  const root = kind.group === "" ? "/api" : "/apis";
  const within = namespace === null ? "" : `/namespaces/${namespace}`;
  return `${root}/${apiVersion(kind)}${within}/${kind.plural}`;
}

/** The path of one object. */
export function objectPath(kind: ApiKind, namespace: string, name: string): string {
  return `${kindPath(kind, namespace)}/${name}`;
}
