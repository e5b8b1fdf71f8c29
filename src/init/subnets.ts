// Subnets to leave alone: checked as CIDR and kept apart by family, since each family's program
// refuses the other's addresses.

import { isIpv4, isIpv6 } from "../core/addr.ts";

/** `ipv4` is served by iptables, `ipv6` by ip6tables. */
export type Family = "ipv4" | "ipv6";

/** A network in CIDR form, as it was written. */
export interface Subnet {
  readonly family: Family;
  readonly cidr: string;
}

/** Reads `10.0.0.0/8` or `fd00::/8`. Throws proxy-init's own line for anything else. */
export function parseSubnet(text: string): Subnet {
  const cidr = text.trim();
  const [ip = "", bits = "", ...more] = cidr.split("/");
  const length = /^\d{1,3}$/.test(bits) && more.length === 0 ? Number(bits) : Infinity;
  if (isIpv4(ip) && length <= 32) return { family: "ipv4", cidr };
  if (isIpv6(ip) && length <= 128) return { family: "ipv6", cidr };
  throw new Error(`${shown(cidr)} is not a valid CIDR address`);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? text.slice(0, 59) + "…" : text);
}
