// The join behind `GetProfile`: what a name or an address is, and how requests to it are treated.

import type { ProfileRefs } from "../../api/profile.ts";
import type { SocketAddr } from "../../core/addr.ts";
import type { Profile } from "../../model/profile.ts";
import { DEFAULT_RETRY_BUDGET, type Route } from "../../model/route.ts";
import type { Reads } from "../join.ts";
import type { ServiceProfileRow } from "../kinds/service-profile.ts";
import type { ServiceRow } from "../kinds/service.ts";
import type { FilterTarget, Mesh } from "../mesh.ts";
import { isOpaqueOnPod, isOpaqueOnService, serverOf } from "../opaque.ts";
import { hasPort } from "../ports.ts";
import { keyOf } from "../resource.ts";
import { type Authority, fullName, type ServiceTarget } from "./authority.ts";
import { behind, endpointAt, podAt } from "./endpoints.ts";

export type ProfileAnswer =
  | { readonly kind: "profile"; readonly profile: Profile; readonly refs: ProfileRefs }
  /** The address is a Service's, the port is none of its ports. */
  | { readonly kind: "undefined-port" }
  | { readonly kind: "no-service" }
  | { readonly kind: "no-endpoint" }
  /** Several Services claim the address. */
  | { readonly kind: "ambiguous" };

export function profileOf(
  mesh: Mesh,
  reads: Reads,
  target: Authority,
  clientNamespace: string,
): ProfileAnswer {
  if (target.kind === "address") return ofAddress(mesh, reads, target.addr, clientNamespace);
  const { service: name } = target;
  reads.namespaces.add(name.namespace);
  const service = mesh.cluster.services.get(keyOf(name));
  if (service === null) return { kind: "no-service" };
  if (name.hostname === "") return ofService(mesh, reads, service, name.port, clientNamespace);
  const [one] = behind(mesh, service, name);
  if (one === undefined) return { kind: "no-endpoint" };
  return ofEndpoint(mesh, reads, { ip: one.ip, port: one.port });
}

function ofAddress(
  mesh: Mesh,
  reads: Reads,
  addr: SocketAddr,
  clientNamespace: string,
): ProfileAnswer {
  // Any Service or pod may come to claim the address.
  reads.everything = true;
  const [service, ...more] = mesh.cluster.services.group(`ip ${addr.ip}`);
  if (service === undefined) return ofEndpoint(mesh, reads, addr);
  if (more.length > 0) return { kind: "ambiguous" };
  if (!service.ports.some((p) => p.port === addr.port)) return { kind: "undefined-port" };
  return ofService(mesh, reads, service, addr.port, clientNamespace);
}

const NOTHING: Profile = {
  fullyQualifiedName: "",
  opaque: false,
  routes: [],
  budget: DEFAULT_RETRY_BUDGET,
  overrides: [],
  endpoint: null,
};

/** An address that is no Service's: a pod, or something outside of the mesh. */
function ofEndpoint(mesh: Mesh, reads: Reads, addr: SocketAddr): ProfileAnswer {
  const pod = podAt(mesh, addr.ip);
  const endpoint = endpointAt(mesh, reads, addr.ip, addr.port, pod);
  const labels: Record<string, string> = pod === null ? {} : { namespace: pod.namespace };
  return {
    kind: "profile",
    profile: {
      ...NOTHING,
      opaque: pod !== null && (isOpaqueOnPod(mesh, reads, pod, addr.port) ||
        serverOf(mesh, reads, pod, addr.port)?.protocol === "opaque"),
      endpoint: { ...endpoint, labels: { ...labels, ...endpoint.labels } },
    },
    refs: { parent: null, profile: null },
  };
}

function ofService(
  mesh: Mesh,
  reads: Reads,
  service: ServiceRow,
  port: number,
  clientNamespace: string,
): ProfileAnswer {
  const name = fullName(service, mesh.options.clusterDomain);
  const row = serviceProfile(mesh, reads, service, name, clientNamespace);
  const { namespace } = service;
  return {
    kind: "profile",
    profile: {
      fullyQualifiedName: name,
      opaque: row?.opaquePorts
        ? hasPort(row.opaquePorts, port)
        : isOpaqueOnService(mesh, reads, service, port),
      routes: row === null ? [] : routesOf(mesh, service, row),
      budget: row?.budget ?? DEFAULT_RETRY_BUDGET,
      overrides: row === null ? [] : row.overrides.map((o) => ({
        authority: /:\d+$/.test(o.authority) ? o.authority : `${o.authority}:${port}`,
        weight: o.weight,
      })),
      endpoint: null,
    },
    refs: {
      parent: { group: "core", kind: "Service", namespace, name: service.name, port },
      profile: row === null ? null : {
        group: "linkerd.io",
        kind: "ServiceProfile",
        namespace: row.namespace,
        name: row.name,
        port: 0,
      },
    },
  };
}

/** The client's own profile for a service comes before that of the service. */
function serviceProfile(
  mesh: Mesh,
  reads: Reads,
  service: ServiceTarget | ServiceRow,
  name: string,
  clientNamespace: string,
): ServiceProfileRow | null {
  const { profiles } = mesh.cluster;
  reads.namespaces.add(service.namespace);
  if (clientNamespace !== "") reads.namespaces.add(clientNamespace);
  return (clientNamespace === "" ? null : profiles.get(`${clientNamespace}/${name}`)) ??
    profiles.get(`${service.namespace}/${name}`);
}

/**
 * The routes with their filters. A proxy that has routes of a profile ignores those of the policy, so
 * that a last route is needed for requests that no other fits: what filters guard must not open.
 */
function routesOf(mesh: Mesh, service: ServiceRow, row: ServiceProfileRow): readonly Route[] {
  const target: FilterTarget = {
    kind: "Service",
    namespace: service.namespace,
    name: service.name,
  };
  const routes = row.routes.map((route): Route => ({
    ...route,
    labels: { route: route.name },
    filters: mesh.filters.refs(target, route.name),
  }));
  const everywhere = mesh.filters.refs(target, null);
  if (everywhere.length === 0 || (routes.length === 0 && row.overrides.length === 0)) return routes;
  return [...routes, {
    name: "",
    match: { kind: "all", of: [] },
    responseClasses: [],
    labels: {},
    retry: null,
    timeoutMs: 0,
    filters: everywhere,
  }];
}
