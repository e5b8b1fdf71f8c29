// IP addresses, networks and socket addresses ↔ net.proto. IPv4 is one big-endian integer, IPv6 two.

import { create } from "@bufbuild/protobuf";
import type { SocketAddr } from "../core/addr.ts";
import { isIpv4, isIpv6 } from "../core/addr.ts";
import {
  type IPAddress,
  IPAddressSchema,
  type IPNetwork,
  IPNetworkSchema,
  type TcpAddress,
  TcpAddressSchema,
} from "./gen/net_pb.ts";
import { required, shown, WireError } from "./wire-error.ts";

/** Throws a plain error for text that is no address: that is our defect, not the peer's. */
export function ipToWire(ip: string): IPAddress {
  if (isIpv4(ip)) {
    const value = ip.split(".").reduce((n, part) => n * 256 + Number(part), 0);
    return create(IPAddressSchema, { ip: { case: "ipv4", value } });
  }
  if (!isIpv6(ip)) throw new Error(`${shown(ip)} is not an IP address`);
  const bits = groupsOf(ip).reduce((n, group) => (n << 16n) | BigInt(group), 0n);
  return create(IPAddressSchema, {
    ip: { case: "ipv6", value: { first: bits >> 64n, last: bits & 0xffff_ffff_ffff_ffffn } },
  });
}

/** Canonical text (RFC 5952); an IPv4-mapped address comes out as IPv4. */
export function ipFromWire(wire: IPAddress | undefined, field: string): string {
  const ip = required(wire, field).ip;
  if (ip.case === "ipv4") {
    return [24, 16, 8, 0].map((shift) => (ip.value >>> shift) & 255).join(".");
  }
  if (ip.case === undefined) throw new WireError(field, "holds no address");
  const bits = (ip.value.first << 64n) | ip.value.last;
  if (bits >> 32n === 0xffffn) {
    const value = Number(bits & 0xffff_ffffn);
    return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
  }
  const groups = Array.from({ length: 8 }, (_, i) => (bits >> BigInt(112 - 16 * i)) & 0xffffn);
  return new URL(`http://[${groups.map((g) => g.toString(16)).join(":")}]/`).hostname.slice(1, -1);
}

export function addrToWire(addr: SocketAddr): TcpAddress {
  return create(TcpAddressSchema, { ip: ipToWire(addr.ip), port: addr.port });
}

/** Port 0 is refused: nothing listens there. */
export function addrFromWire(wire: TcpAddress | undefined, field: string): SocketAddr {
  const { ip, port } = required(wire, field);
  if (port === 0 || port > 65535) {
    throw new WireError(`${field}.port`, `is ${port}, not in 1–65535`);
  }
  return { ip: ipFromWire(ip, `${field}.ip`), port };
}

/** `cidr` is `10.0.0.0/8`, or a bare address. */
export function networkToWire(cidr: string): IPNetwork {
  const slash = cidr.indexOf("/");
  const ip = slash < 0 ? cidr : cidr.slice(0, slash);
  const width = ip.includes(":") ? 128 : 32;
  const prefixLen = slash < 0 ? width : Number(cidr.slice(slash + 1));
  if (!Number.isInteger(prefixLen) || prefixLen < 0 || prefixLen > width) {
    throw new Error(`${shown(cidr)} is not a network`);
  }
  return create(IPNetworkSchema, { ip: ipToWire(ip), prefixLen });
}

export function networkFromWire(wire: IPNetwork | undefined, field: string): string {
  const { ip: wireIp, prefixLen } = required(wire, field);
  const ip = ipFromWire(wireIp, `${field}.ip`);
  const width = ip.includes(":") ? 128 : 32;
  if (prefixLen > width) {
    throw new WireError(`${field}.prefix_len`, `is ${prefixLen}, longer than ${width}`);
  }
  return `${ip}/${prefixLen}`;
}

function groupsOf(ip: string): number[] {
  const [head = "", tail] = new URL(`http://[${ip}]/`).hostname.slice(1, -1).split("::");
  const parse = (text: string) => text === "" ? [] : text.split(":").map((g) => parseInt(g, 16));
  const left = parse(head);
  if (tail === undefined) return left;
  const right = parse(tail);
  return [...left, ...new Array(8 - left.length - right.length).fill(0), ...right];
}
