// Bytes in, for the portable driver: fed to the channel's core, and kept, within a bound, where the core
// leaves them or has paused. Knows no sockets but to pause them.

import type { ChanError, Core } from "../core/driver.ts";
import type { NetChan } from "./net-channel.ts";

const READ_BYTES = 64 * 1024;
/** What a core may leave unconsumed; more means that its own bound is missing, and ends the channel. */
const MAX_KEPT_BYTES = 256 * 1024;
/** A paused TLS channel goes on reading up to here; see `pause` of the driver. */
const SOFT_KEPT_BYTES = 128 * 1024;

/** What comes of bytes beside their core. */
export interface ReadEnds {
  /** The peer's FIN, after its last byte. */
  ended(c: NetChan): void;
  fail(c: NetChan, why: ChanError): void;
}

/** The input of all channels of a driver. */
export class NetReads {
  /**
   * One buffer for all sockets: the runtime reads into it and calls back in one step, and whatever
   * outlives the call is copied.
   */
  readonly buffer = new Uint8Array(READ_BYTES);
  readonly #ends: ReadEnds;

  constructor(ends: ReadEnds) {
    this.#ends = ends;
  }

  /** Bytes arrived. */
  deliver(c: NetChan, buf: Uint8Array, from: number, to: number): void {
    c.meter?.read(to - from);
    if (c.keptTo > c.keptFrom || c.paused) {
      this.#keep(c, buf, from, to);
      if (!c.paused) this.feedKept(c);
      return;
    }
    const id = c.id;
    while (from < to && c.core !== null && !c.paused) {
      const core: Core = c.core;
      const n = core.feed(id, buf, from, to);
      if (c.id !== id || c.socket === null) return;
      from += n;
      if (n === 0 && c.core === core) break;
    }
    if (from < to && c.core !== null) this.#keep(c, buf, from, to);
  }

  /** Feeds what was kept, and tells the end that came behind it. */
  feedKept(c: NetChan): void {
    const id = c.id;
    while (c.keptFrom < c.keptTo && c.core !== null && !c.paused) {
      const core: Core = c.core;
      const n = core.feed(id, c.kept as Uint8Array, c.keptFrom, c.keptTo);
      if (c.id !== id || c.socket === null) return;
      c.keptFrom += n;
      if (n === 0 && c.core === core) break;
    }
    if (c.keptFrom === c.keptTo) {
      c.kept = null;
      c.keptFrom = c.keptTo = 0;
    }
    if (c.fin && !c.paused) this.#ends.ended(c);
  }

  #keep(c: NetChan, buf: Uint8Array, from: number, to: number): void {
    const kept = c.keep(buf, from, to);
    if (kept > MAX_KEPT_BYTES) {
      const message = "more unread bytes than any core may leave";
      this.#ends.fail(c, { kind: "reset", message });
    } else if (c.paused && (!c.isTls || kept > SOFT_KEPT_BYTES)) {
      // Also a socket that began to flow again by itself, when nobody waits for `readable` any more.
      c.socket?.pause();
    }
  }
}
