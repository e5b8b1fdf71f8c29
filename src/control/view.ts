// What the admin plane may see, read from the tables when it asks. Holds no key and no token.

import type {
  AdminState,
  CertificateState,
  ControlCounters,
  EndpointState,
  MeshedPod,
  Problem,
  ServiceState,
} from "./admin/state.ts";
import { behind, identityOf } from "./destination/endpoints.ts";
import type { FilterRegistry } from "./filters/registry.ts";
import { Reads } from "./join.ts";
import type { ServiceRow } from "./kinds/service.ts";
import type { Mesh } from "./mesh.ts";
import { clientPolicyOf } from "./policy/outbound.ts";
import { parentGroup } from "./route-table.ts";
import { fullName } from "./destination/authority.ts";

/** Of a proxy whose container does not say. */
const ADMIN_PORT = 4191;

/** Listeners that are called when something changed. */
export class Changes {
  readonly #listeners = new Set<() => void>();

  readonly tell = (): void => {
    for (const listener of [...this.#listeners]) listener();
  };

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

export interface ViewDeps {
  readonly mesh: Mesh;
  readonly registry: FilterRegistry;
  readonly counters: ControlCounters;
  readonly changes: Changes;
  readonly sourceProblems: () => readonly Problem[];
  readonly anchors: () => readonly CertificateState[];
  readonly issued: ReadonlyMap<string, CertificateState>;
  readonly notReady: () => string | null;
}

export function adminState(deps: ViewDeps): AdminState {
  const { mesh, registry, counters, changes } = deps;
  return {
    services: () => [...mesh.cluster.services.rows.values()].map((s) => serviceState(mesh, s)),
    filters: () => registry.states(),
    identities: () => ({
      trustDomain: mesh.options.trustDomain,
      anchors: deps.anchors(),
      issued: [...deps.issued.values()],
    }),
    pods: () => meshedPods(mesh),
    problems: () => [...deps.sourceProblems(), ...filterProblems(mesh, registry)],
    counters: () => counters,
    explain: (sha256, reason) => registry.maps.explain(sha256, reason),
    notReady: deps.notReady,
    subscribe: (changed) => changes.subscribe(changed),
    rollout: (name, module) => registry.rollout(name, module),
  };
}

function serviceState(mesh: Mesh, service: ServiceRow): ServiceState {
  const { namespace, name } = service;
  const endpoints = new Map<string, EndpointState>();
  const ports = service.ports.map(({ port, name: portName }) => {
    const target = { namespace, name, hostname: "", port };
    for (const b of behind(mesh, service, target)) {
      const meshed = b.pod?.controlPlane === mesh.options.controlNamespace;
      endpoints.set(`${b.ip}|${b.port}`, {
        addr: { ip: b.ip, port: b.port },
        pod: b.pod?.name ?? null,
        ready: b.ready,
        identity: meshed && b.pod !== null ? identityOf(mesh, b.pod) : null,
      });
    }
    const of = { kind: "service" as const, service: target };
    const answer = clientPolicyOf(mesh, new Reads(), of, namespace);
    const said = answer.kind === "policy" ? answer.policy.protocol : "detect";
    const protocol = said === "tls" ? "opaque" : said;
    return { port, name: portName, protocol };
  });
  return { namespace, name, ports, endpoints: [...endpoints.values()] };
}

function meshedPods(mesh: Mesh): readonly MeshedPod[] {
  return [...mesh.cluster.pods.rows.values()].flatMap((pod): MeshedPod[] => {
    const [ip] = pod.ips;
    if (ip === undefined || pod.controlPlane !== mesh.options.controlNamespace) return [];
    return [{
      namespace: pod.namespace,
      name: pod.name,
      workload: pod.owner?.name ?? pod.name,
      ip,
      admin: { ip, port: pod.ports["linkerd-admin"] ?? ADMIN_PORT },
      identity: identityOf(mesh, pod),
    }];
  });
}

/** Names of the routes of objects that are attached to a parent, in force or not. */
function routeNames({ cluster }: Mesh, parent: Parameters<typeof parentGroup>[0]): string[] {
  const { httpRoutes, gatewayHttpRoutes, grpcRoutes } = cluster;
  return [httpRoutes, gatewayHttpRoutes, grpcRoutes]
    .flatMap((table) => [...table.group(parentGroup(parent))].map((r) => r.name));
}

/** What a filter asks for that is not there: it would run nowhere, and nobody would know why. */
function filterProblems(mesh: Mesh, registry: FilterRegistry): readonly Problem[] {
  const problems: Problem[] = [];
  for (const { namespace, name, state, reason } of registry.states()) {
    if (state !== "refused") continue;
    problems.push({ source: `WasmFilter ${namespace}/${name}`, message: reason });
  }
  const { filters, services, egressNetworks, servers, profiles } = mesh.cluster;
  const tables = { Service: services, EgressNetwork: egressNetworks, Server: servers };
  for (const { namespace, name, target, routes } of filters.rows.values()) {
    const source = `WasmFilter ${namespace}/${name}`;
    if (tables[target.kind].get(`${namespace}/${target.name}`) === null) {
      problems.push({ source, message: `there is no ${target.kind} ${target.name}` });
      continue;
    }
    const profile = fullName({ namespace, name: target.name }, mesh.options.clusterDomain);
    const known = new Set([
      ...profiles.get(`${namespace}/${profile}`)?.routes.map((r) => r.name) ?? [],
      ...routeNames(mesh, { kind: target.kind, namespace, name: target.name }),
    ]);
    for (const route of routes.filter((r) => !known.has(r))) {
      const message = `${target.name} has no route ${
        JSON.stringify(route)
      }, neither in its ServiceProfile nor as an HTTPRoute or GRPCRoute`;
      problems.push({ source, message });
    }
  }
  return problems;
}
