// Where policy came from, as the labels of Linkerd's registry families. Target rate.

import { formatSocketAddr, type SocketAddr } from "../../core/addr.ts";
import type { Labels } from "../../core/sheet.ts";
import type { Origin } from "../../model/profile.ts";

/** Where a connection was going. */
export function targetLabels(addr: SocketAddr): Labels {
  return {
    target_addr: formatSocketAddr(addr),
    target_ip: addr.ip,
    target_port: String(addr.port),
  };
}

/** A built-in default, which has only a name. */
export function namedDefault(name: string): Origin {
  return { group: "", kind: "default", namespace: "", name, port: 0 };
}

/** `parent_…` or `backend_…` of an outbound family. */
export function resourceLabels(prefix: "parent" | "backend", origin: Origin): Labels {
  const { group, kind, namespace, name, port, section = "" } = origin;
  return {
    [`${prefix}_group`]: group,
    [`${prefix}_kind`]: kind,
    [`${prefix}_namespace`]: namespace,
    [`${prefix}_name`]: name,
    [`${prefix}_port`]: port === 0 ? "" : String(port),
    [`${prefix}_section_name`]: section,
  };
}

/** `route_…` of an outbound family. */
export function routeLabels({ group, kind, namespace, name }: Origin): Labels {
  return {
    route_group: group,
    route_kind: kind,
    route_namespace: namespace,
    route_name: name,
  };
}
