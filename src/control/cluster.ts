// All that is known of the cluster: a table for each kind, fed by one source. The joins read it and are
// told in which namespaces something changed, once for each batch.

import {
  type AuthorizationPolicyRow,
  authorizationPolicyRow,
  type MeshTlsRow,
  meshTlsRow,
  type NetworkRow,
  networkRow,
} from "./kinds/authorization.ts";
import { type ByteRouteRow, tcpRouteRow, tlsRouteRow } from "./kinds/byte-routes.ts";
import { type EgressNetworkRow, egressNetworkRow } from "./kinds/egress-network.ts";
import { type EndpointSliceRow, endpointSliceRow } from "./kinds/endpoint-slice.ts";
import { type GrpcRouteRow, grpcRouteRow } from "./kinds/grpc-route.ts";
import { type HttpRouteRow, httpRouteRow } from "./kinds/http-route.ts";
import { type NamespaceRow, namespaceRow } from "./kinds/namespace.ts";
import { podGroups, type PodRow, podRow } from "./kinds/pod.ts";
import { type RateLimitRow, rateLimitRow } from "./kinds/rate-limit.ts";
import {
  type ServerAuthorizationRow,
  serverAuthorizationRow,
} from "./kinds/server-authorization.ts";
import { type ServerRow, serverRow } from "./kinds/server.ts";
import { type ServiceProfileRow, serviceProfileRow } from "./kinds/service-profile.ts";
import { type ServiceRow, serviceRow } from "./kinds/service.ts";
import { type WasmFilterRow, wasmFilterRow } from "./kinds/wasm-filter.ts";
import type { Key, Resource } from "./resource.ts";
import { routeTable } from "./route-table.ts";
import { Table } from "./table.ts";

/** Namespaces in which something changed. A change of a Namespace object counts as one in it. */
export type Dirty = ReadonlySet<string>;

/** Which object is meant, of which kind. */
export type ObjectName = Pick<Resource, "group" | "kind" | "namespace" | "name">;

type AnyTable = Pick<Table<Resource, never>, "apply" | "remove">;

export class Cluster {
  readonly namespaces: Table<Resource, NamespaceRow>;
  readonly services: Table<Resource, ServiceRow>;
  readonly slices: Table<Resource, EndpointSliceRow>;
  readonly pods: Table<Resource, PodRow>;
  readonly profiles: Table<Resource, ServiceProfileRow>;
  readonly servers: Table<Resource, ServerRow>;
  readonly serverAuthorizations: Table<Resource, ServerAuthorizationRow>;
  readonly authorizations: Table<Resource, AuthorizationPolicyRow>;
  readonly meshTls: Table<Resource, MeshTlsRow>;
  readonly networks: Table<Resource, NetworkRow>;
  readonly rateLimits: Table<Resource, RateLimitRow>;
  readonly egressNetworks: Table<Resource, EgressNetworkRow>;
  /** `policy.linkerd.io`. */
  readonly httpRoutes: Table<Resource, HttpRouteRow>;
  /** `gateway.networking.k8s.io`. */
  readonly gatewayHttpRoutes: Table<Resource, HttpRouteRow>;
  readonly grpcRoutes: Table<Resource, GrpcRouteRow>;
  readonly tlsRoutes: Table<Resource, ByteRouteRow>;
  readonly tcpRoutes: Table<Resource, ByteRouteRow>;
  readonly filters: Table<Resource, WasmFilterRow>;

  readonly #byKind: ReadonlyMap<string, AnyTable>;
  readonly #listeners = new Set<(dirty: Dirty) => void>();
  #dirty = new Set<string>();
  #depth = 0;

  constructor() {
    const changed = (keys: ReadonlySet<Key>) => {
      for (const key of keys) this.touch(key.slice(0, key.indexOf("/")));
    };
    const inNamespace = (row: { namespace: string }) => [`namespace ${row.namespace}`];
    this.namespaces = new Table(namespaceRow, (keys) => {
      for (const key of keys) this.touch(key.slice(key.indexOf("/") + 1));
    });
    this.services = new Table(serviceRow, changed, (s) => s.ips.map((ip) => `ip ${ip}`));
    this.slices = new Table(
      endpointSliceRow,
      changed,
      (s) => [`service ${s.namespace}/${s.service}`],
    );
    this.pods = new Table(podRow, changed, podGroups);
    this.profiles = new Table(serviceProfileRow, changed);
    this.servers = new Table(serverRow, changed, inNamespace);
    this.serverAuthorizations = new Table(serverAuthorizationRow, changed, inNamespace);
    this.authorizations = new Table(authorizationPolicyRow, changed, inNamespace);
    this.meshTls = new Table(meshTlsRow, changed);
    this.networks = new Table(networkRow, changed);
    this.rateLimits = new Table(
      rateLimitRow,
      changed,
      (l) => [`server ${l.namespace}/${l.server}`],
    );
    this.egressNetworks = new Table(egressNetworkRow, changed, inNamespace);
    const touch = (namespace: string) => this.touch(namespace);
    this.httpRoutes = routeTable(httpRouteRow, touch);
    this.gatewayHttpRoutes = routeTable(httpRouteRow, touch);
    this.grpcRoutes = routeTable(grpcRouteRow, touch);
    this.tlsRoutes = routeTable(tlsRouteRow, touch);
    this.tcpRoutes = routeTable(tcpRouteRow, touch);
    this.filters = new Table(
      wasmFilterRow,
      changed,
      (f) => [`${f.target.kind} ${f.namespace}/${f.target.name}`, `name ${f.name}`],
    );
    this.#byKind = new Map<string, AnyTable>([
      ["/Namespace", this.namespaces],
      ["/Service", this.services],
      ["discovery.k8s.io/EndpointSlice", this.slices],
      ["/Pod", this.pods],
      ["linkerd.io/ServiceProfile", this.profiles],
      ["policy.linkerd.io/Server", this.servers],
      ["policy.linkerd.io/ServerAuthorization", this.serverAuthorizations],
      ["policy.linkerd.io/AuthorizationPolicy", this.authorizations],
      ["policy.linkerd.io/MeshTLSAuthentication", this.meshTls],
      ["policy.linkerd.io/NetworkAuthentication", this.networks],
      ["policy.linkerd.io/HTTPLocalRateLimitPolicy", this.rateLimits],
      ["policy.linkerd.io/EgressNetwork", this.egressNetworks],
      ["policy.linkerd.io/HTTPRoute", this.httpRoutes],
      ["gateway.networking.k8s.io/HTTPRoute", this.gatewayHttpRoutes],
      ["gateway.networking.k8s.io/GRPCRoute", this.grpcRoutes],
      ["gateway.networking.k8s.io/TLSRoute", this.tlsRoutes],
      ["gateway.networking.k8s.io/TCPRoute", this.tcpRoutes],
      ["tulle.dev/WasmFilter", this.filters],
    ]);
  }

  /** What a source should read: `policy.linkerd.io/Server`, `/Pod`. */
  get kinds(): readonly string[] {
    return [...this.#byKind.keys()];
  }

  /** False: the kind is none of ours. Raises a `FieldError`; the row then stays as it was. */
  apply(resource: Resource): boolean {
    const table = this.#table(resource);
    if (table === null) return false;
    this.batch(() => table.apply(resource));
    return true;
  }

  remove(resource: ObjectName): void {
    this.batch(() => this.#table(resource)?.remove(resource));
  }

  /** Many changes that are told as one. */
  batch(change: () => void): void {
    this.#depth++;
    try {
      change();
    } finally {
      this.#depth--;
      this.#flush();
    }
  }

  /** Something that joins read changed in this namespace, although no row did: a filter's module. */
  touch(namespace: string): void {
    this.#dirty.add(namespace);
    this.#flush();
  }

  /** Calls synchronously after each batch that changed something; the result ends it. */
  subscribe(listener: (dirty: Dirty) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #flush(): void {
    while (this.#depth === 0 && this.#dirty.size > 0) {
      const dirty = this.#dirty;
      this.#dirty = new Set();
      for (const listener of [...this.#listeners]) listener(dirty);
    }
  }

  #table(resource: ObjectName): AnyTable | null {
    return this.#byKind.get(`${resource.group}/${resource.kind}`) ?? null;
  }
}
