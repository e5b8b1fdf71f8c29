// What a client's authority means: an address, a service of the cluster, or neither. Short names are
// completed as a pod's resolver would, but here, since explicit-proxy clients resolve nothing themselves.

import { formatSocketAddr, isIpv4, isIpv6, normalizeIp, splitHostPort } from "../../core/addr.ts";
import type { SocketAddr } from "../../core/addr.ts";
import { isHostName } from "../config/grammar.ts";

/** A target in canonical form; equal targets have equal `key`s. */
export type ResolvedTarget =
  | { readonly kind: "addr"; readonly key: string; readonly addr: SocketAddr }
  | { readonly kind: "name"; readonly key: string; readonly host: string; readonly port: number }
  | {
    readonly kind: "outside";
    readonly key: string;
    readonly why: string;
    /** What DNS may know; null: it is no name, or one of the cluster's that is none. */
    readonly name: { readonly host: string; readonly port: number } | null;
  };

/** Where names are completed. */
export interface NameScope {
  /** Of this pod; null: short names cannot be completed. */
  readonly namespace: string | null;
  readonly clusterDomain: string;
}

const DEFAULT_PORT = 80;
/** A DNS name with a port. */
const MAX_AUTHORITY = 260;

/**
 * Resolves `host[:port]`; the port is 80 where none is written.
 *
 * `svc`, `svc.ns`, `svc.ns.svc` and `svc.ns.svc.<domain>` are services, more labels in front one of
 * their pods, an IP address is that address; anything else is outside the mesh, also `example.com.` with
 * its final dot.
 */
export function resolveAuthority(authority: string, scope: NameScope): ResolvedTarget {
  const outside = (why: string) => ({
    kind: "outside" as const,
    key: authority,
    why,
    name: null,
  });
  const shown = JSON.stringify(authority.slice(0, MAX_AUTHORITY));
  if (authority.length > MAX_AUTHORITY) return outside(`${shown}… is too long for a name`);
  let at: { host: string; port: number | null };
  try {
    at = splitHostPort(authority);
  } catch {
    return outside(`${shown} is not HOST or HOST:PORT`);
  }
  const port = at.port ?? DEFAULT_PORT;
  if (port === 0) return outside(`${shown} has port 0`);
  if (isIpv4(at.host) || isIpv6(at.host)) {
    return resolveAddr({ ip: normalizeIp(at.host), port });
  }
  if (authority.startsWith("[")) return outside(`${shown} holds no IPv6 address`);
  const host = at.host.toLowerCase().replace(/\.$/, "");
  if (!isHostName(host)) return outside(`${shown} is not a host name`);
  const isAbsolute = at.host.endsWith(".");
  const name = complete(host, isAbsolute, scope);
  if (typeof name !== "string") {
    const known = host.includes(".") && !`.${host}`.endsWith(`.${scope.clusterDomain}`);
    return { ...outside(name.why), name: known ? { host, port } : null };
  }
  return { kind: "name", key: `${name}:${port}`, host: name, port };
}

/** An address as a target. */
export function resolveAddr(addr: SocketAddr): ResolvedTarget {
  return { kind: "addr", key: formatSocketAddr(addr), addr };
}

function complete(
  host: string,
  isAbsolute: boolean,
  scope: NameScope,
): string | { why: string } {
  const { namespace, clusterDomain } = scope;
  const suffix = `.svc.${clusterDomain}`;
  const labels = host.split(".");
  if (host.endsWith(suffix)) {
    const count = labels.length - suffix.split(".").length + 1;
    if (count >= 2) return host;
  } else if (labels.length === 1) {
    if (namespace !== null) return `${host}.${namespace}${suffix}`;
    return {
      why:
        `${host} has no namespace, and this proxy does not know its own: write ${host}.NAMESPACE`,
    };
  } else if (labels.length === 2 && !isAbsolute) {
    return `${host}${suffix}`;
  } else if (labels.length === 3 && labels[2] === "svc") {
    return `${host}.${clusterDomain}`;
  }
  return { why: `${host} is outside the mesh: only services below ${suffix.slice(1)} are known` };
}
