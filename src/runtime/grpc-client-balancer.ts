// Which of a control-plane service's addresses a call goes to: the one with fewer open calls of two that
// are drawn. Connections are kept, an address that cannot be connected to is left alone for a while, and
// one that DNS no longer has gets no new calls. Chooses only; a `GrpcSession` holds each connection.

import { Code, ConnectError } from "@connectrpc/connect";
import type http2 from "node:http2";
import { formatSocketAddr, type SocketAddr } from "../core/addr.ts";
import { Backoff, type Clock } from "../core/clock.ts";
import { GrpcSession } from "./grpc-session.ts";

/** How long an address that failed is left alone: bounds and jitter of `Backoff`. */
export interface AddressBackoff {
  readonly minMs: number;
  readonly maxMs: number;
  readonly jitter: number;
}

/** What a balancer needs. */
export interface GrpcBalancerOptions {
  /** The origin of every call, whichever address it goes to. */
  readonly baseUrl: string;
  /** The newest addresses; rejects where none are known. */
  readonly addresses: () => Promise<readonly SocketAddr[]>;
  /** Begins the connection of a session. */
  readonly session: (addr: SocketAddr) => GrpcSession;
  /** Hears of each address that could not be connected to. */
  readonly failed: () => void;
  readonly backoff: AddressBackoff;
  readonly clock: Pick<Clock, "now">;
  readonly random: () => number;
}

/** One address. */
interface Peer {
  readonly session: GrpcSession;
  readonly backoff: Backoff;
  /** Calls that are open or waiting for the connection. */
  load: number;
  /** Left alone until then. */
  untilMs: number;
  /** False once DNS has it no more. */
  isCurrent: boolean;
}

/** What `createGrpcTransport` wants of a session manager, over several connections. */
export class GrpcBalancer {
  /** The origin of the base URL. */
  readonly authority: string;
  readonly #options: GrpcBalancerOptions;
  readonly #peers = new Map<string, Peer>();
  #closed = false;

  constructor(options: GrpcBalancerOptions) {
    this.#options = options;
    this.authority = new URL(options.baseUrl).origin;
  }

  /**
   * Begins a call. An address that cannot be connected to is passed over for the next, of which nothing
   * has been sent; rejects with the last error once all have been tried.
   */
  async request(
    method: string,
    path: string,
    headers: http2.OutgoingHttpHeaders,
    options: Omit<http2.ClientSessionRequestOptions, "signal">,
  ): Promise<http2.ClientHttp2Stream> {
    const addrs = await this.#options.addresses().catch((e: unknown) => {
      throw ConnectError.from(e, Code.Unavailable);
    });
    if (this.#closed) throw new ConnectError("the client is closed", Code.Canceled);
    const untried = new Set(this.#follow(addrs));
    for (;;) {
      const peer = this.#choose(untried);
      untried.delete(peer);
      peer.load++;
      try {
        const stream = await peer.session.request(method, path, headers, options);
        stream.once("close", () => this.#ended(peer));
        peer.backoff.reset();
        peer.untilMs = 0;
        return stream;
      } catch (e) {
        peer.untilMs = this.#options.clock.now() + peer.backoff.next();
        this.#ended(peer);
        if (this.#closed) throw e;
        this.#options.failed();
        if (untried.size === 0) throw e;
      }
    }
  }

  /** Signs of life are taken from pings alone. */
  notifyResponseByteRead(): void {}

  /** Takes the addresses that DNS has now; calls on others go on until they end. */
  update(addrs: readonly SocketAddr[]): void {
    this.#follow(addrs);
  }

  /** Ends every connection and call, for good. */
  close(): void {
    this.#closed = true;
    for (const peer of this.#peers.values()) peer.session.close();
    this.#peers.clear();
  }

  /** The peers of `addrs`, made where there is none; all others get no new calls. */
  #follow(addrs: readonly SocketAddr[]): Peer[] {
    if (this.#closed) return [];
    for (const peer of this.#peers.values()) peer.isCurrent = false;
    const current = addrs.map((addr) => {
      const key = formatSocketAddr(addr);
      const peer = this.#peers.get(key) ?? this.#peer(addr);
      peer.isCurrent = true;
      this.#peers.set(key, peer);
      return peer;
    });
    for (const peer of this.#peers.values()) this.#retire(peer);
    return current;
  }

  #peer(addr: SocketAddr): Peer {
    const { session, backoff: { minMs, maxMs, jitter }, random } = this.#options;
    const backoff = new Backoff(minMs, maxMs, jitter, random);
    return { session: session(addr), backoff, load: 0, untilMs: 0, isCurrent: true };
  }

  /** The less loaded of two; where all have failed lately, the one that is due first. */
  #choose(untried: ReadonlySet<Peer>): Peer {
    const now = this.#options.clock.now();
    const all = [...untried];
    const able = all.filter(({ untilMs }) => untilMs <= now);
    if (able.length === 0) return all.reduce((a, b) => b.untilMs < a.untilMs ? b : a);
    const first = this.#draw(able);
    const second = this.#draw(able.length === 1 ? able : able.filter((one) => one !== first));
    return second.load < first.load ? second : first;
  }

  #draw(peers: readonly Peer[]): Peer {
    return peers[Math.floor(this.#options.random() * peers.length)] as Peer;
  }

  #ended(peer: Peer): void {
    peer.load--;
    this.#retire(peer);
  }

  /** Ends the connection to an address that DNS has no more, once its calls have ended. */
  #retire(peer: Peer): void {
    if (peer.isCurrent || peer.load > 0) return;
    // A turn later: a connection that ends while a stream of it closes aborts the process on Deno.
    setTimeout(() => {
      if (peer.isCurrent || peer.load > 0) return;
      for (const [key, one] of this.#peers) if (one === peer) this.#peers.delete(key);
      peer.session.close();
    }, 0);
  }
}
