// The annotation with the opaque ports of a pod or Service that has none of its own: its namespace's,
// or those of the default list that it exposes.

import type { Field } from "../field.ts";
import { hasPort, parsePorts } from "../ports.ts";
import { OPAQUE_PORTS } from "./annotations.ts";
import type { PodView } from "./pod.ts";

/** Null: nothing to add, since it has one or exposes none of the default ones. */
export function opaqueOfPod(
  pod: PodView,
  namespace: Readonly<Record<string, string>>,
  defaults: string,
): string | null {
  if (pod.annotations[OPAQUE_PORTS] !== undefined) return null;
  const ports = [...pod.initContainers, ...pod.containers]
    .flatMap((c) => c.ports.map(({ port }) => port));
  return namespace[OPAQUE_PORTS] ?? among(ports, defaults);
}

/** As for a pod, by the ports that a Service's pods listen on. Raises a `FieldError`. */
export function opaqueOfService(
  service: Field,
  namespace: Readonly<Record<string, string>>,
  defaults: string,
): string | null {
  if (service.at("metadata").at("annotations").strings()[OPAQUE_PORTS] !== undefined) return null;
  const ports = service.at("spec").at("ports").list(1024).flatMap((port) => {
    const target = port.at("targetPort");
    const number = port.at("port").int(1, 65535);
    if (target.isAbsent || target.value === 0) return [number];
    return typeof target.value === "number" ? [target.int(1, 65535)] : [];
  });
  return namespace[OPAQUE_PORTS] ?? among(ports, defaults);
}

function among(ports: readonly number[], defaults: string): string | null {
  const set = parsePorts(defaults);
  const found = [...new Set(ports)].filter((port) => hasPort(set, port));
  return found.length === 0 ? null : found.join(",");
}
