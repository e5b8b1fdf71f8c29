// What counts as «loopback»: the one place where the mesh exempts a connection from mutual TLS.

/**
 * True when `ip` is exactly 127.0.0.1, ::1, or one of the pod's own addresses.
 *
 * Linkerd exempts all of 127.0.0.0/8. Here pods on one machine have addresses such as 127.77.1.2, so
 * only the two canonical loopback addresses and the pod itself count (docs/adr/0005-loopback.md).
 */
export function isPodLocal(ip: string, podIps: readonly string[]): boolean {
  return ip === "127.0.0.1" || ip === "::1" || podIps.includes(ip);
}
