// Whether two networks have an address in common. Pure.

import { inCidr, type Network } from "../../model/policy.ts";

/**
 * Whether `network` has an address of `cidr` that is not among its exceptions. Of two networks that
 * overlap one is inside the other, so one exception has to hold the smaller of them.
 */
export function overlap(network: Network, cidr: string): boolean {
  const smaller = within(cidr, network.cidr)
    ? cidr
    : within(network.cidr, cidr)
    ? network.cidr
    : null;
  return smaller !== null && !network.except.some((e) => within(smaller, e));
}

/** Whether all of `inner` is in `outer`. */
function within(inner: string, outer: string): boolean {
  return inCidr(addressOf(inner), outer) && lengthOf(inner) >= lengthOf(outer);
}

function addressOf(cidr: string): string {
  return cidr.split("/")[0] ?? cidr;
}

function lengthOf(cidr: string): number {
  const [ip = "", length] = cidr.split("/");
  return length === undefined ? (ip.includes(":") ? 128 : 32) : Number(length);
}
