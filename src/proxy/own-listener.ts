// Loop guard: whether an address is one that this proxy itself listens on. A connection to it would
// come back here until something breaks.

import { isIpv4, type SocketAddr } from "../core/addr.ts";
import { isPodLocal } from "../model/loopback.ts";

/** A check for the listeners of a pod with these addresses. */
export function ownListener(
  listeners: readonly SocketAddr[],
  podIps: readonly string[],
): (addr: SocketAddr) => boolean {
  return ({ ip, port }) =>
    listeners.some((own) => own.port === port && (own.ip === ip || covers(own.ip, ip, podIps)));
}

/** Whether a listener on `own`, if it is 0.0.0.0 or ::, is reached at `ip` of this pod. */
function covers(own: string, ip: string, podIps: readonly string[]): boolean {
  const any = own === "::" || (own === "0.0.0.0" && isIpv4(ip));
  return any && isPodLocal(ip, podIps);
}
