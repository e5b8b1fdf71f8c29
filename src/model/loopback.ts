// What counts as «loopback»: the one place where the mesh exempts a connection from mutual TLS.

import type { Network } from "./policy.ts";

const LOOPBACK: readonly string[] = ["127.0.0.1", "::1"];

/**
 * True when `ip` is exactly 127.0.0.1, ::1, or one of the pod's own addresses.
 *
 * Linkerd exempts all of 127.0.0.0/8. Here pods on one machine have addresses such as 127.77.1.2, so
 * only the two canonical loopback addresses and the pod itself count (docs/adr/0005-loopback.md).
 * `podIps` null: there is no pod and nothing is exempt, as for `tulle proxy --identity`.
 */
export function isPodLocal(ip: string, podIps: readonly string[] | null): boolean {
  return podIps !== null && (LOOPBACK.includes(ip) || podIps.includes(ip));
}

/** The same as networks, for the authorization that admits what a pod says to itself. */
export function podLocalNetworks(podIps: readonly string[]): readonly Network[] {
  return [...new Set([...LOOPBACK, ...podIps])].map((cidr) => ({ cidr, except: [] }));
}
