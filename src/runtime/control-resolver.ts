// Where a control-plane service is: its name's SRV records, else its addresses with the configured port,
// as Linkerd's proxy finds them; looked up again after their time to live. Decides only; `ControlDns`
// asks (`control-dns.ts` with the runtime's resolver), and the clock is handed in.

import { isIpv4, isIpv6, normalizeIp, type SocketAddr } from "../core/addr.ts";
import { Backoff, type Clock } from "../core/clock.ts";

/** How names are asked for. Both reject where there is no answer, and never settle late: they are bounded. */
export interface ControlDns {
  /** SRV records of a name. */
  srv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
  /** A and AAAA records; `ttlMs` is the shortest time to live, null where it is not known. */
  addresses(
    name: string,
  ): Promise<{ readonly ips: readonly string[]; readonly ttlMs: number | null }>;
}

/** Bounds of how long an answer is kept, in ms; null: none of that kind. */
export interface TtlBounds {
  readonly minMs: number | null;
  readonly maxMs: number | null;
}

/** What was asked for, as `control_dns_resolutions_total` names it. */
export type RecordType = "SRV" | "A/AAAA";

/** What a resolver is made of. */
export interface ControlResolverOptions {
  readonly host: string;
  readonly port: number;
  readonly dns: ControlDns;
  readonly clock: Clock;
  readonly random: () => number;
  readonly ttl: TtlBounds;
  /** Hears of each look-up. */
  readonly resolved: (type: RecordType, isFound: boolean) => void;
  /** Hears of addresses that differ from those before. */
  readonly changed: (addrs: readonly SocketAddr[]) => void;
}

/** Of an answer without one: SRV records, whose time `node:dns` does not tell, and the hosts file. */
export const UNKNOWN_TTL_MS = 30_000;
/** However short a time to live is, nobody asks more often. */
const SHORTEST_TTL_MS = 1_000;
/** The longest that an answer is kept unless configured: a day, below what a timer can hold. */
const LONGEST_TTL_MS = 86_400_000;
/** A look-up that a lost address asks for comes no sooner than this after the one before. */
const EARLY_MS = 5_000;
/** Addresses beyond this are left out, whoever wrote the zone. */
const MAX_ADDRS = 256;

/** The addresses of one service. Nothing is asked for before the first `addresses`. */
export class ControlResolver {
  readonly #options: ControlResolverOptions;
  readonly #backoff: Backoff;
  #last: readonly SocketAddr[] | null;
  readonly #isLiteral: boolean;
  #running: Promise<readonly SocketAddr[]> | null = null;
  #askedMs = Number.NEGATIVE_INFINITY;
  #cancel: () => void = () => {};
  #closed = false;

  constructor(options: ControlResolverOptions) {
    this.#options = options;
    this.#backoff = new Backoff(1_000, 60_000, 0.1, options.random);
    const literal = literalAddress(options.host);
    this.#isLiteral = literal !== null;
    this.#last = literal === null ? null : [{ ip: literal, port: options.port }];
  }

  /** The newest answer. Asks where there is none yet; rejects when that finds nothing either. */
  async addresses(): Promise<readonly SocketAddr[]> {
    return this.#last ?? await this.#lookUp();
  }

  /** An address does not work: what is known may be old. Asks soon, but not often. */
  doubt(): void {
    if (this.#isLiteral || this.#last === null || this.#running !== null || this.#closed) return;
    const waitMs = Math.max(0, this.#askedMs + EARLY_MS - this.#options.clock.now());
    if (waitMs === 0) this.#again();
  }

  /** Asks no more. */
  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #again(): void {
    if (this.#closed) return;
    this.#lookUp().catch(() => {}); // the last answer stays, and the next time is set
  }

  #lookUp(): Promise<readonly SocketAddr[]> {
    return this.#running ??= this.#ask().finally(() => this.#running = null);
  }

  async #ask(): Promise<readonly SocketAddr[]> {
    this.#cancel();
    const { clock, ttl, changed } = this.#options;
    this.#askedMs = clock.now();
    try {
      const { addrs, ttlMs } = await this.#srv() ?? await this.#plain();
      this.#backoff.reset();
      const before = this.#last;
      this.#last = addrs;
      this.#schedule(boundedTtl(ttlMs, ttl));
      if (before === null || !sameAddrs(before, addrs)) changed(addrs);
      return addrs;
    } catch (e) {
      // Without any answer the callers ask again, who have a back-off of their own.
      if (this.#last !== null) this.#schedule(this.#backoff.next());
      throw e;
    }
  }

  #schedule(ms: number): void {
    if (!this.#closed) this.#cancel = this.#options.clock.after(ms, () => this.#again());
  }

  /** By SRV records; null where there are none that name addresses. */
  async #srv(): Promise<{ addrs: readonly SocketAddr[]; ttlMs: number | null } | null> {
    const { dns, host, resolved } = this.#options;
    let addrs: readonly SocketAddr[] = [];
    try {
      addrs = srvAddresses(await dns.srv(host));
    } catch {
      // Any failure is as no record: then the name's own addresses count.
    }
    resolved("SRV", addrs.length > 0);
    return addrs.length === 0 ? null : { addrs, ttlMs: null };
  }

  async #plain(): Promise<{ addrs: readonly SocketAddr[]; ttlMs: number | null }> {
    const { dns, host, port, resolved } = this.#options;
    try {
      const { ips, ttlMs } = await dns.addresses(host);
      const addrs = distinct(ips.map((ip) => ({ ip: normalizeIp(ip), port })));
      if (addrs.length === 0) throw new Error(`${host} has no address`);
      resolved("A/AAAA", true);
      return { addrs, ttlMs };
    } catch (e) {
      resolved("A/AAAA", false);
      throw e;
    }
  }
}

/** The address that a host is without any look-up: an IP, or this machine's own name; else null. */
export function literalAddress(host: string): string | null {
  // The name is this machine's by definition, and not every resolver knows it with its final dot.
  if (/^localhost\.?$/i.test(host)) return "127.0.0.1";
  return isIpv4(host) || isIpv6(host) ? normalizeIp(host) : null;
}

/**
 * The addresses that SRV records name: the first label of each target is the IP with dashes, as cluster
 * DNS makes it for a headless service. One target of another form, and the records name nothing: a
 * Service with an address of its own lists its other ports too (Linkerd's proxy does the same).
 */
export function srvAddresses(
  records: readonly { readonly name: string; readonly port: number }[],
): readonly SocketAddr[] {
  const addrs: SocketAddr[] = [];
  for (const { name, port } of records) {
    const label = name.split(".", 1)[0] ?? "";
    const [v4, v6] = [label.replaceAll("-", "."), label.replaceAll("-", ":")];
    const ip = isIpv4(v4) ? v4 : isIpv6(v6) ? normalizeIp(v6) : null;
    if (ip === null || port < 1 || port > 65535) return [];
    addrs.push({ ip, port });
  }
  return distinct(addrs);
}

function boundedTtl(ttlMs: number | null, bounds: TtlBounds): number {
  const longest = Math.min(bounds.maxMs ?? LONGEST_TTL_MS, LONGEST_TTL_MS);
  const atLeast = Math.max(ttlMs ?? UNKNOWN_TTL_MS, bounds.minMs ?? 0);
  return Math.max(SHORTEST_TTL_MS, Math.min(atLeast, longest));
}

function distinct(addrs: readonly SocketAddr[]): readonly SocketAddr[] {
  return [...new Map(addrs.map((a) => [`${a.ip} ${a.port}`, a])).values()].slice(0, MAX_ADDRS);
}

/** In any order: name servers turn their answers round. */
function sameAddrs(a: readonly SocketAddr[], b: readonly SocketAddr[]): boolean {
  const keys = new Set(a.map((one) => `${one.ip} ${one.port}`));
  return a.length === b.length && b.every((one) => keys.has(`${one.ip} ${one.port}`));
}
