// What an inbound port allows: the value behind `WatchPort`, and the one function that decides.

import type { FilterRef } from "../core/filter.ts";
import type { AttachedServerRoutes } from "./attached-route.ts";
import type { Origin } from "./profile.ts";
import type { RateLimit } from "./route-action.ts";
import type { Route } from "./route.ts";

/** A network in CIDR form. */
export interface Network {
  readonly cidr: string;
  readonly except: readonly string[];
}

/** Who is allowed: anybody, any mesh client (with or without certificate), or named identities. */
export type Authentication =
  | { readonly kind: "unauthenticated" }
  | { readonly kind: "mesh-tls-unauthenticated" }
  | {
    readonly kind: "identities";
    readonly names: readonly string[];
    readonly suffixes: readonly string[];
  };

export interface Authorization {
  readonly origin: Origin;
  readonly networks: readonly Network[];
  readonly authentication: Authentication;
}

/** A route of a port. */
export interface ServerRoute extends Route {
  /** Clients that may use this route beside those whom the server admits. */
  readonly authorizations?: readonly Authorization[];
}

/** The whole policy of one port of one workload. */
export interface ServerPolicy {
  readonly origin: Origin;
  readonly protocol: "detect" | "http1" | "http2" | "grpc" | "opaque" | "tls";
  /** How long detection waits. */
  readonly detectMs: number;
  readonly authorizations: readonly Authorization[];
  readonly routes: readonly ServerRoute[];
  /** In a control plane: routes of objects, in the place of `routes`; a proxy reads both as `routes`. */
  readonly attached?: AttachedServerRoutes;
  /** Of the Server itself; they run before a route's own. */
  readonly filters: readonly FilterRef[];
  /** How many requests there may be; null or absent: any number. */
  readonly rateLimit?: RateLimit | null;
}

/** Who asks. `identity` null: no client certificate; `meshed` false: plain text. */
export interface Client {
  readonly ip: string;
  readonly meshed: boolean;
  readonly identity: string | null;
}

/** The authorization that permits the client, or null: denied. Nothing permits by default. */
export function authorize(policy: ServerPolicy, client: Client): Authorization | null {
  for (const a of policy.authorizations) {
    if (!a.networks.some((n) => inNetwork(client.ip, n))) continue;
    if (permits(a.authentication, client)) return a;
  }
  return null;
}

function permits(authentication: Authentication, client: Client): boolean {
  switch (authentication.kind) {
    case "unauthenticated":
      return true;
    case "mesh-tls-unauthenticated":
      return client.meshed;
    case "identities": {
      const id = client.identity;
      if (!client.meshed || id === null) return false;
      if (authentication.names.includes(id)) return true;
      // An empty suffix is any identity; "a.b" is what ends in ".a.b".
      return authentication.suffixes.some((s) => s === "" || id.endsWith(`.${s}`));
    }
  }
}

function inNetwork(ip: string, network: Network): boolean {
  return inCidr(ip, network.cidr) && !network.except.some((e) => inCidr(ip, e));
}

/** Whether `ip` is in `cidr` (`10.0.0.0/8`, `fd00::/8`, or a bare address). Another family: false. */
export function inCidr(ip: string, cidr: string): boolean {
  const isV6 = ip.includes(":");
  if (isV6 !== cidr.includes(":")) return false;
  const slash = cidr.indexOf("/");
  const net = slash < 0 ? cidr : cidr.slice(0, slash);
  const width = isV6 ? 128 : 32;
  const length = slash < 0 ? width : prefixLength(cidr, slash + 1);
  if (length < 0 || length > width) return false;
  if (isV6) {
    const [a, b] = [ipv6Bits(ip), ipv6Bits(net)];
    if (a === null || b === null) return false;
    const shift = BigInt(width - length);
    return a >> shift === b >> shift;
  }
  const [a, b] = [ipv4Number(ip), ipv4Number(net)];
  const block = 2 ** (width - length);
  return a >= 0 && b >= 0 && Math.floor(a / block) === Math.floor(b / block);
}

/** What stands from `from` on, or -1: it is no number, and an empty one is no number. */
function prefixLength(cidr: string, from: number): number {
  const text = cidr.slice(from);
  return /^\d{1,3}$/.test(text) ? Number(text) : -1;
}

/** A dotted address as a number, or -1: it is none. By characters, since rules are tried one by one. */
function ipv4Number(text: string): number {
  let value = 0;
  let part = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x2e) {
      if (digits === 0 || ++dots > 3) return -1;
      value = value * 256 + part;
      part = digits = 0;
    } else if (c >= 0x30 && c <= 0x39) {
      part = part * 10 + c - 0x30;
      if (++digits > 3 || part > 255) return -1;
    } else return -1;
  }
  return dots === 3 && digits > 0 ? value * 256 + part : -1;
}

function ipv6Bits(ip: string): bigint | null {
  if (!/^[\da-f:.]{2,45}$/i.test(ip) || !URL.canParse(`http://[${ip}]/`)) return null;
  const [head = "", tail] = new URL(`http://[${ip}]/`).hostname.slice(1, -1).split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = new Array(8 - left.length - right.length).fill("0");
  const groups = [...left, ...(tail === undefined ? [] : zeros), ...right];
  return groups.reduce((n, g) => (n << 16n) | BigInt(`0x${g}`), 0n);
}
