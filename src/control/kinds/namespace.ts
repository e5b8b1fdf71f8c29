// Namespaces (core/v1): annotations that hold for every pod and Service in them.

import { parsePorts, type PortSet } from "../ports.ts";
import type { Resource } from "../resource.ts";
import { DEFAULT_INBOUND_POLICY } from "./pod.ts";
import { OPAQUE_PORTS } from "./service.ts";

export interface NamespaceRow {
  readonly name: string;
  readonly opaquePorts: PortSet | null;
  readonly defaultPolicy: string;
}

export function namespaceRow(r: Resource): NamespaceRow {
  const opaque = r.annotations[OPAQUE_PORTS];
  return {
    name: r.name,
    opaquePorts: opaque === undefined ? null : parsePorts(opaque),
    defaultPolicy: r.annotations[DEFAULT_INBOUND_POLICY] ?? "",
  };
}
