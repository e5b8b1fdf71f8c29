// Names of services as clients write them: `web.shop.svc.cluster.local:8080`.

import { isIpv4, isIpv6, normalizeIp, type SocketAddr, splitHostPort } from "../../core/addr.ts";

/** A Service, or with `hostname` one of its endpoints. */
export interface ServiceTarget {
  readonly namespace: string;
  readonly name: string;
  /** Empty: all endpoints. */
  readonly hostname: string;
  readonly port: number;
}

export type Authority =
  | { readonly kind: "service"; readonly service: ServiceTarget }
  | { readonly kind: "address"; readonly addr: SocketAddr };

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Port 80 where none is written. Null: it is neither an address nor the full name of a service. */
export function parseAuthority(text: string, clusterDomain: string): Authority | null {
  let host: string;
  let port: number;
  try {
    const parts = splitHostPort(text);
    host = parts.host;
    port = parts.port ?? 80;
  } catch {
    return null;
  }
  if (port === 0) return null;
  if (isIpv4(host) || isIpv6(host)) {
    return { kind: "address", addr: { ip: normalizeIp(host), port } };
  }
  const suffix = `.svc.${clusterDomain}`;
  const name = host.toLowerCase().replace(/\.$/, "");
  if (!name.endsWith(suffix)) return null;
  const labels = name.slice(0, -suffix.length).split(".");
  if (!labels.every((l) => LABEL.test(l))) return null;
  const [a = "", b = "", c = ""] = labels;
  if (labels.length === 2) {
    return { kind: "service", service: { namespace: b, name: a, hostname: "", port } };
  }
  if (labels.length === 3) {
    return { kind: "service", service: { namespace: c, name: b, hostname: a, port } };
  }
  return null;
}

/** The authority of outbound policies: anything may follow `svc`. Null: it is no service at all. */
export function parsePolicyAuthority(text: string): ServiceTarget | null {
  const { host, port } = splitHostPort(text);
  const [name = "", namespace = "", svc] = host.toLowerCase().replace(/\.$/, "").split(".");
  if (svc !== "svc" || !LABEL.test(name) || !LABEL.test(namespace)) return null;
  return { namespace, name, hostname: "", port: port ?? 80 };
}

/** `web.shop.svc.cluster.local`. */
export function fullName(
  service: { readonly name: string; readonly namespace: string },
  clusterDomain: string,
): string {
  return `${service.name}.${service.namespace}.svc.${clusterDomain}`;
}
