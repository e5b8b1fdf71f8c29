// The first bytes of an accepted connection, where mesh TLS is terminated: what is it, TLS or not? Who
// says nothing may be waiting for a server that speaks first; then the connection goes on tentatively
// as plain text, and whoever acts first decides. Decides nothing about who may come.

import { createTimer, type Timer, type TimerWheel } from "../core/timers.ts";
import { readClientHello } from "../core/client-hello.ts";

/** A ClientHello with a post-quantum key share is about 1.6 KiB; more than this is not waited for. */
export const MAX_PEEK_BYTES = 8192;
/** A client that says nothing for so long may be one whose server speaks first. */
const SILENT_MS = 20;
/** A TLS record with a handshake in it. */
const HANDSHAKE = 0x16;

/** A connection that is served as plain text as long as its client says nothing. */
export interface Tentative {
  /** It is plain text; `first` are its first bytes, if any. */
  plain(first: Uint8Array): void;
  /** It may be TLS after all: what was begun for it ends, the connection does not. */
  withdraw(): void;
}

/** The part of `net.Socket` that is used. */
export interface PeekedSocket {
  readonly destroyed: boolean;
  read(): unknown;
  on(event: "readable", heard: () => void): unknown;
  once(event: "end", heard: () => void): unknown;
  off(event: "readable" | "end", heard: () => void): unknown;
}

export interface PeekOptions {
  readonly timers: TimerWheel;
  /** Milliseconds of the wheel's clock, not of the turn's begin. */
  now(): number;
  /** What never comes is not waited for any longer. */
  readonly detectMs: number;
  /**
   * The client is silent: serves the connection tentatively, or null when its bytes must be awaited.
   * Asked again, ever less often, since a policy may not be known yet.
   */
  silent(silentMs: number): Tentative | null;
  /** The first bytes, which may be none; not called for what became plain text tentatively. */
  done(first: Uint8Array, silentMs: number): void;
}

/** Reads until the first bytes say what the connection is: a whole ClientHello, or not TLS. */
export class Peek {
  readonly #socket: PeekedSocket;
  readonly #o: PeekOptions;
  readonly #startedMs: number;
  readonly #timer: Timer;
  readonly #pieces: Uint8Array[] = [];
  #length = 0;
  #askAfterMs = SILENT_MS;
  #tentative: Tentative | null = null;
  #over = false;

  constructor(socket: PeekedSocket, options: PeekOptions) {
    this.#socket = socket;
    this.#o = options;
    this.#startedMs = options.now();
    this.#timer = createTimer(() => this.#tick());
    this.#arm();
    socket.on("readable", this.#readable);
    socket.once("end", this.#finish);
  }

  /** Nothing is read or waited for any longer: the connection is somebody else's. */
  stop(): void {
    this.#over = true;
    this.#o.timers.cancel(this.#timer);
    this.#socket.off("readable", this.#readable);
    this.#socket.off("end", this.#finish);
  }

  get #elapsedMs(): number {
    return this.#o.now() - this.#startedMs;
  }

  #arm(): void {
    const asks = this.#length === 0 && this.#tentative === null;
    const afterMs = asks ? Math.min(this.#askAfterMs, this.#o.detectMs) : this.#o.detectMs;
    this.#o.timers.arm(this.#timer, this.#startedMs + afterMs);
  }

  #tick(): void {
    if (this.#over) return;
    if (this.#elapsedMs >= this.#o.detectMs) return this.#finish();
    if (this.#length === 0 && this.#tentative === null) {
      this.#askAfterMs *= 2;
      const tentative = this.#o.silent(this.#elapsedMs);
      // It may have been decided inside the call.
      if (this.#over) return;
      this.#tentative = tentative;
    }
    this.#arm();
  }

  readonly #readable = (): void => {
    let piece: Uint8Array | null;
    while ((piece = this.#socket.read() as Uint8Array | null) !== null) {
      this.#pieces.push(piece);
      this.#length += piece.length;
      if (this.#length >= MAX_PEEK_BYTES) break;
    }
    if (this.#length === 0 || this.#over) return;
    const first = this.#joined();
    if (first[0] !== HANDSHAKE) return this.#finish();
    // Whoever begins like TLS is no plain text until it is known.
    this.#tentative?.withdraw();
    this.#tentative = null;
    if (this.#length >= MAX_PEEK_BYTES || readClientHello(first) !== null) this.#finish();
    else this.#arm();
  };

  readonly #finish = (): void => {
    if (this.#over) return;
    const silentMs = this.#length === 0 ? this.#elapsedMs : 0;
    this.stop();
    const tentative = this.#tentative;
    this.#tentative = null;
    if (tentative !== null) tentative.plain(this.#joined());
    else if (!this.#socket.destroyed) this.#o.done(this.#joined(), silentMs);
  };

  #joined(): Uint8Array {
    const [only] = this.#pieces;
    if (only !== undefined && this.#pieces.length === 1) return only;
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}
