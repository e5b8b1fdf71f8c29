// The grammar of configuration values: one function a kind of value, text in, value out. Each throws a
// sentence that completes «NAME …»; `config.ts` puts the name in front and collects them.

import { isIpv4, isIpv6, normalizeIp, parseSocketAddr, splitHostPort } from "../../core/addr.ts";
import type { SocketAddr } from "../../core/addr.ts";

/** Longest duration that is taken: a thousand years, well inside a double's whole milliseconds. */
const MAX_DURATION_MS = 365_000 * 86_400_000;
const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `100ms`, `3s`, `5m`, `1h`, `365d`; the unit may be missing only for 0. In milliseconds. */
export function parseDuration(text: string): number {
  const m = /^\s*(\d{1,18})(ms|s|m|h|d)?\s*$/.exec(text);
  const unit = m?.[2];
  const count = Number(m?.[1]);
  if (m === null || (unit === undefined && count !== 0)) {
    throw new Error("is not a duration: write a number with ms, s, m, h or d");
  }
  const ms = count * (UNIT_MS[unit ?? "ms"] ?? 1);
  if (ms > MAX_DURATION_MS) throw new Error("is a duration of more than 365000d");
  return ms;
}

/** As `parseDuration`; empty means no limit and gives null. */
export function parseOptionalDuration(text: string): number | null {
  return text.trim() === "" ? null : parseDuration(text);
}

/** Exactly `true` or `false`. */
export function parseBoolean(text: string): boolean {
  if (text === "true") return true;
  if (text === "false") return false;
  throw new Error("is neither true nor false");
}

/** A whole number of zero or more. */
export function parseCount(text: string): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) throw new Error("is not a whole number");
  return value;
}

/** Connections that a listener lets wait: 1 to 65535. */
export function parseBacklog(text: string): number {
  const value = parseCount(text);
  if (value < 1 || value > 65535) throw new Error(`is ${value}: write 1 to 65535`);
  return value;
}

/** A decimal number of zero or more, such as `0.1`. */
export function parseRatio(text: string): number {
  const value = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : NaN;
  if (!Number.isFinite(value)) throw new Error("is not a decimal number of zero or more");
  return value;
}

/** A set of ports: its ranges, both ends included, sorted and without overlap. */
export interface PortSet {
  readonly ranges: readonly (readonly [lo: number, hi: number])[];
}

/** Comma list of `N` or `LO-HI`; empty is the empty set. */
export function parsePorts(text: string): PortSet {
  const ranges = items(text).map((item): [number, number] => {
    const m = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(item);
    const lo = Number(m?.[1]);
    const hi = Number(m?.[2] ?? m?.[1]);
    if (m === null || lo < 1 || hi > 65535 || lo > hi) {
      throw new Error(`holds ${JSON.stringify(item)}, which is neither a port nor LOW-HIGH`);
    }
    return [lo, hi];
  }).sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && range[0] <= last[1] + 1) last[1] = Math.max(last[1], range[1]);
    else merged.push(range);
  }
  return { ranges: merged };
}

/** Whether the port is in the set. */
export function hasPort(set: PortSet, port: number): boolean {
  return set.ranges.some(([lo, hi]) => port >= lo && port <= hi);
}

/** Every port of the set, ascending; raises an error past `max`, so that a set cannot fill memory. */
export function listPorts(set: PortSet, max: number): readonly number[] {
  const ports: number[] = [];
  for (const [lo, hi] of set.ranges) {
    for (let port = lo; port <= hi; port++) {
      if (ports.length >= max) throw new Error(`lists more than ${max} ports`);
      ports.push(port);
    }
  }
  return ports;
}

/** Comma list of CIDR networks; empty is none. */
export function parseNetworks(text: string): readonly string[] {
  return items(text).map((item) => {
    const m = /^([^/]+)\/(\d{1,3})$/.exec(item);
    const ip = m?.[1] ?? "";
    const bits = Number(m?.[2]);
    if (!((isIpv4(ip) && bits <= 32) || (isIpv6(ip) && bits <= 128))) {
      throw new Error(`holds ${JSON.stringify(item)}, which is not a network: write ADDRESS/BITS`);
    }
    return item.toLowerCase();
  });
}

/** Comma list of IP addresses; empty is none. */
export function parseIps(text: string): readonly string[] {
  return items(text).map((item) => parseIp(item));
}

/** One IP address without port. */
export function parseIp(text: string): string {
  if (!isIpv4(text) && !isIpv6(text)) {
    throw new Error(`holds ${JSON.stringify(text)}, which is not an IP address`);
  }
  return normalizeIp(text);
}

/** Comma list of DNS suffixes, lower case without final dot; `.` is everything and gives "". */
export function parseSuffixes(text: string): readonly string[] {
  return items(text).map((item) => {
    if (item === ".") return "";
    const name = item.toLowerCase().replace(/\.$/, "");
    if (!isHostName(name)) {
      throw new Error(`holds ${JSON.stringify(item)}, which is not a DNS suffix`);
    }
    return name;
  });
}

/** Whether `name` is one of the suffixes or below it. */
export function hasSuffix(suffixes: readonly string[], name: string): boolean {
  return suffixes.some((s) => s === "" || name === s || name.endsWith(`.${s}`));
}

/** `ip:port`, where something listens. */
export function parseListen(text: string): SocketAddr {
  try {
    return parseSocketAddr(text);
  } catch {
    throw new Error(`is ${JSON.stringify(text)}, which is not an address: write IP:PORT`);
  }
}

/** One or two of them. */
export function parseListens(text: string): readonly SocketAddr[] {
  const all = items(text).map(parseListen);
  if (all.length < 1 || all.length > 2) throw new Error("must hold one or two addresses");
  return all;
}

/** `ip:port` or `name:port`. A name keeps its final dot, as it is sent in `:authority`. */
export function parseHostPort(text: string): { host: string; port: number } {
  const wrong = new Error(`is ${JSON.stringify(text)}, which is not an address: write HOST:PORT`);
  let at;
  try {
    at = splitHostPort(text);
  } catch {
    throw wrong;
  }
  const { host, port } = at;
  if (port === null || port === 0) throw wrong;
  if (isIpv4(host) || isIpv6(host)) return { host: normalizeIp(host), port };
  // Digits and dots only, yet no address: a name server must not be asked for 300.1.2.3.
  if (!isHostName(host.replace(/\.$/, "").toLowerCase()) || /^[\d.]+$/.test(host)) throw wrong;
  return { host, port };
}

/** A DNS name in lower case without final dot. Labels may begin with `_`, as some services do. */
export function isHostName(name: string): boolean {
  return name.length <= 253 &&
    name.split(".").every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
}

function items(text: string): readonly string[] {
  return text.split(",").map((item) => item.trim()).filter((item) => item !== "");
}
