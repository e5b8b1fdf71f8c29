// A name outside the mesh, asked for by a client that resolves nothing itself: an address is looked up in
// DNS, and from there it is as if the client had connected to that address – the control plane is asked
// about it, so that what it says of traffic that leaves the mesh holds here too.

import { isIpv4, type SocketAddr } from "../../core/addr.ts";
import { Backoff, type Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { OutboundSnapshot, Watched } from "./discovery.ts";
import { type Lease, Shared } from "./shared.ts";

/** The addresses of a name; `ttlMs` null: not known. Bounded in time; rejects where there are none. */
export type ResolveName = (
  host: string,
) => Promise<{ readonly ips: readonly string[]; readonly ttlMs: number | null }>;

export interface OutsideOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly resolve: ResolveName;
  /** The target of an address. */
  readonly open: (addr: SocketAddr) => Watched<OutboundSnapshot>;
  /** What is published while the name leads nowhere. */
  readonly nowhere: OutboundSnapshot;
}

/** How long an answer is kept, whatever DNS says. */
const SHORTEST_MS = 5_000;
const LONGEST_MS = 300_000;
const UNKNOWN_MS = 30_000;

/** Follows a name from construction to `close`. */
export class OutsideTarget {
  readonly shared: Shared<OutboundSnapshot>;
  readonly #name: string;
  readonly #host: string;
  readonly #port: number;
  readonly #o: OutsideOptions;
  readonly #backoff: Backoff;
  #ip = "";
  #inner: Watched<OutboundSnapshot> | null = null;
  #cancel: () => void = () => {};
  #closed = false;

  constructor(host: string, port: number, o: OutsideOptions, lease: Lease) {
    this.#name = `${host}:${port}`;
    this.#host = host;
    this.#port = port;
    this.#o = o;
    this.#backoff = new Backoff(1_000, 30_000, 0.1, o.random);
    this.shared = new Shared(lease);
    void this.#lookUp();
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
    this.#inner?.release();
    this.shared.close();
  }

  async #lookUp(): Promise<void> {
    let nextMs: number;
    try {
      const { ips, ttlMs } = await this.#o.resolve(this.#host);
      if (this.#closed) return;
      const usable = ips.filter(leadsOutside);
      if (usable.length === 0) throw new Error("it has no address outside of this machine");
      this.#backoff.reset();
      // An address that is still one stays: its connections do.
      if (!usable.includes(this.#ip)) this.#goTo(usable[0] as string);
      nextMs = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, ttlMs ?? UNKNOWN_MS));
    } catch (e) {
      if (this.#closed) return;
      // The last address stays while the name server is away.
      if (this.#inner === null) {
        this.shared.publish(
          this.#o.nowhere,
          `${this.#host} is outside the mesh and cannot be resolved: ${errorText(e)}`,
        );
      }
      nextMs = this.#backoff.next();
    }
    this.#cancel = this.#o.clock.after(nextMs, () => void this.#lookUp());
  }

  #goTo(ip: string): void {
    this.#ip = ip;
    const before = this.#inner;
    const inner = this.#o.open({ ip, port: this.#port });
    this.#inner = inner;
    before?.release();
    const publish = (value: OutboundSnapshot) => {
      if (inner === this.#inner) {
        this.shared.publish({ ...value, authority: this.#name }, inner.why);
      }
    };
    inner.subscribe(publish, (why) => {
      if (inner === this.#inner && this.shared.value === null) this.shared.explain(why);
    });
    if (inner.value !== null) publish(inner.value);
    else if (inner.why !== "" && this.shared.value === null) this.shared.explain(inner.why);
  }
}

/**
 * Whether a name may lead there. Loopback, link-local (where clouds keep what a machine may know) and
 * unspecified addresses are nobody's outside: a name that says so means this machine no good.
 */
function leadsOutside(ip: string): boolean {
  if (isIpv4(ip)) return !/^(0|127)\./.test(ip) && !ip.startsWith("169.254.");
  const text = ip.toLowerCase();
  return text !== "::" && text !== "::1" && !/^fe[89ab]/.test(text) && !text.startsWith("::ffff:");
}
