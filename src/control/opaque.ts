// Which ports are opaque: declared by annotations, by a Server, or by Linkerd's default list.

import type { NamespaceRow } from "./kinds/namespace.ts";
import type { PodRow } from "./kinds/pod.ts";
import { selects } from "./kinds/selector.ts";
import type { ServerRow } from "./kinds/server.ts";
import type { ServiceRow } from "./kinds/service.ts";
import type { Reads } from "./join.ts";
import type { Mesh } from "./mesh.ts";
import { hasPort } from "./ports.ts";
import { byAge } from "./resource.ts";

function namespaceOf(mesh: Mesh, name: string): NamespaceRow | null {
  return mesh.cluster.namespaces.get(`/${name}`);
}

/** By annotation of the pod or its namespace, or by the default list. */
export function isOpaqueOnPod(mesh: Mesh, reads: Reads, pod: PodRow, port: number): boolean {
  reads.namespaces.add(pod.namespace);
  const ports = pod.opaquePorts ?? namespaceOf(mesh, pod.namespace)?.opaquePorts ??
    mesh.options.opaquePorts;
  return hasPort(ports, port, pod.ports);
}

/** By annotation of the Service or its namespace, or by the default list. */
export function isOpaqueOnService(
  mesh: Mesh,
  reads: Reads,
  service: ServiceRow,
  port: number,
): boolean {
  reads.namespaces.add(service.namespace);
  const ports = service.opaquePorts ?? namespaceOf(mesh, service.namespace)?.opaquePorts ??
    mesh.options.opaquePorts;
  const names = Object.fromEntries(service.ports.map((p) => [p.name, p.port]));
  return hasPort(ports, port, names);
}

/** The Server that counts for a port of a pod: of several the oldest. */
export function serverOf(mesh: Mesh, reads: Reads, pod: PodRow, port: number): ServerRow | null {
  reads.namespaces.add(pod.namespace);
  const fits = [...mesh.cluster.servers.group(`namespace ${pod.namespace}`)].filter((s) =>
    (typeof s.port === "number" ? s.port : pod.ports[s.port]) === port &&
    selects(s.pods, pod.labels)
  );
  return fits.sort(byAge)[0] ?? null;
}
