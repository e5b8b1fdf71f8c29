// The seam between bytes and protocols. A driver moves bytes (`runtime/net-driver.ts`), a core is a
// protocol without I/O (`proxy/http1/`, `proxy/tcp/`). All calls are synchronous and make no objects.

import type { SocketAddr } from "./addr.ts";
import type { TimerWheel } from "./timers.ts";

/** A channel: an index and a generation in one integer, so that a late call to a closed one is ignored. */
export type Chan = number;

/** How to end a channel: after what was sent is out, or at once with a reset. */
export type CloseHow = "flush" | "reset";

/** Room to write into: fill `buf` from `at`, then `commit` what was written. */
export interface Out {
  buf: Uint8Array;
  at: number;
}

/** Who is at the other end of a channel, known once it is open. */
export interface Peer {
  readonly local: SocketAddr;
  readonly remote: SocketAddr;
  readonly tls: PeerTls | null;
  /** Where the client wanted to go, when its connection was redirected here; absent: to `local`. */
  readonly original?: SocketAddr;
  /** For so many milliseconds its client had said nothing when it was accepted; absent: not awaited. */
  readonly silentMs?: number;
  /** Its first bytes are TLS that is not of the mesh, for this name or none; absent: they are not. */
  readonly serverName?: string | null;
}

/** A mutual TLS 1.3 connection of the mesh, verified against the trust anchors. */
export interface PeerTls {
  /** The peer's identity; null: a client that showed no certificate. */
  readonly identity: string | null;
  /** The negotiated protocol, or null. */
  readonly alpn: string | null;
}

/** What `connect` needs. `tls` makes the channel a mesh TLS client of that server. */
export interface ConnectTo {
  readonly addr: SocketAddr;
  /** The source address to bind, or null for the system's choice. */
  readonly from: string | null;
  readonly timeoutMs: number;
  /** TCP keep-alive after this long without a byte; absent or null: off. */
  readonly keepAliveMs?: number | null;
  readonly tls: {
    readonly serverName: string;
    readonly identity: string;
    readonly alpn: string | null;
  } | null;
}

/** Moves bytes for channels. One per data-plane thread. */
export interface Driver {
  /** Begins a connection; the core hears `opened` or `closed`. */
  connect(to: ConnectTo, core: Core): Chan;
  /**
   * Takes all bytes: sends, references or copies them before it returns. False: the channel is over
   * its high-water mark, stop until `writable`. Bounded, since a sender gives at most one buffer more.
   */
  send(ch: Chan, buf: Uint8Array, from: number, to: number): boolean;
  /** Room for `bytes` in the channel's output slot; what is committed is flushed at the turn's end. */
  reserve(ch: Chan, bytes: number): Out;
  commit(ch: Chan, bytes: number): boolean;
  /** Ends our direction only, after what was sent. */
  shutdown(ch: Chan): void;
  close(ch: Chan, how: CloseHow): void;
  /** Hands the channel to another core, which is not told `opened`. Unconsumed bytes are fed to it. */
  adopt(ch: Chan, core: Core): void;
  pause(ch: Chan): void;
  /** Feeds what was kept, then reads on. */
  resume(ch: Chan): void;
  /** Counts the channel's bytes from now on; what TLS adds is not counted. */
  meter(ch: Chan, meter: Meter): void;
  /** Addresses and identity; valid from `opened` on. */
  peer(ch: Chan): Peer;
  readonly timers: TimerWheel;
  /** Milliseconds with fractions, read once a turn. */
  readonly now: number;
}

/** Who counts a channel's bytes; one for many channels. */
export interface Meter {
  read(bytes: number): void;
  wrote(bytes: number): void;
  /** The channel fails now: the system's name of the error, or what else is known. */
  lost?(errno: string): void;
}

/** A protocol on one channel. */
export interface Core {
  /** The channel is connected (and its TLS verified). */
  opened(ch: Chan): void;
  /**
   * Consumes what it can and returns how many bytes; the rest is kept and fed again with more.
   * `buf` is lent for the call, writable.
   */
  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number;
  /** Below the high-water mark again. */
  writable(ch: Chan): void;
  /** The peer's FIN. */
  ended(ch: Chan): void;
  /** The channel is gone; null: it ended in order. No call follows. */
  closed(ch: Chan, why: ChanError | null): void;
}

/** Why a channel failed. `kind` decides the error a request gets. */
export interface ChanError {
  readonly kind: "connect" | "connect-timeout" | "identity" | "reset";
  /** The system's error name (`ECONNREFUSED`), or a sentence for TLS. */
  readonly message: string;
}
