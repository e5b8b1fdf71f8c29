// The channels of the portable driver: what is known of each, its unread bytes, and their numbers.
// Used by the driver's parts (`net-sockets.ts` and what it is made of) alone, which say when.

import type net from "node:net";
import { normalizeIp, type SocketAddr } from "../core/addr.ts";
import type { Chan, ChanError, Core, Meter, Peer, PeerTls } from "../core/driver.ts";
import type { Timer } from "../core/timers.ts";
import type { Slot } from "./net-writes.ts";

const MAX_CHANNELS = 1 << 20;
const GENERATIONS = 1 << 11;

/** One channel's state. Known only here; everybody else holds its number. */
export class NetChan {
  id: Chan = 0;
  generation = 0;
  socket: net.Socket | null = null;
  core: Core | null = null;
  peer: Peer | null = null;
  isTls = false;
  open = false;
  /** Unconsumed bytes: `kept[keptFrom..keptTo)`. */
  kept: Uint8Array | null = null;
  keptFrom = 0;
  keptTo = 0;
  out: Slot | null = null;
  outTo = 0;
  /** The socket keeps more than it should: `drain` comes. */
  full = false;
  /** What is written may pass the socket's own queue by; see `net-write-now.ts`. */
  direct = false;
  dirty = false;
  paused = false;
  queued = false;
  fin = false;
  closeAfter = false;
  why: ChanError | null = null;
  timeout: Timer | null = null;
  meter: Meter | null = null;
  /** While it is not certain that it is plain text: makes it so. */
  settle: (() => void) | null = null;

  /** Keeps what a core left; returns how many bytes are kept now. */
  keep(buf: Uint8Array, from: number, to: number): number {
    const have = this.keptTo - this.keptFrom;
    const need = have + to - from;
    if (this.kept === null || this.kept.length - this.keptTo < to - from) {
      const old = this.kept;
      const room = old !== null && old.length >= need
        ? old
        : new Uint8Array(Math.max(4096, 2 ** Math.ceil(Math.log2(need))));
      if (room === old) room.copyWithin(0, this.keptFrom, this.keptTo);
      else if (old !== null) room.set(old.subarray(this.keptFrom, this.keptTo));
      this.kept = room;
      this.keptFrom = 0;
      this.keptTo = have;
    }
    this.kept.set(buf.subarray(from, to), this.keptTo);
    this.keptTo += to - from;
    return need;
  }
}

/** All channels of a driver, by number. Released ones are used again under a new generation. */
export class NetChans {
  readonly #chans: NetChan[] = [];
  readonly #free: number[] = [];

  /** A fresh channel. Throws when all numbers are in use. */
  take(): NetChan {
    const index = this.#free.pop() ?? this.#chans.length;
    if (index >= MAX_CHANNELS) throw new Error("too many open connections");
    let c = this.#chans[index];
    if (c === undefined) {
      c = new NetChan();
      this.#chans[index] = c;
    }
    c.generation = (c.generation + 1) % GENERATIONS;
    c.id = c.generation * MAX_CHANNELS + index;
    return c;
  }

  /** The channel of that number, or null when it is gone. */
  get(ch: Chan): NetChan | null {
    const c = this.#chans[ch % MAX_CHANNELS];
    return c !== undefined && c.id === ch && c.socket !== null ? c : null;
  }

  *inUse(): IterableIterator<NetChan> {
    for (const c of this.#chans) if (c.socket !== null) yield c;
  }

  /** Forgets the connection; returns its output slot, if it holds one. */
  release(c: NetChan): Slot | null {
    const { out } = c;
    c.socket = null;
    c.core = null;
    c.peer = null;
    c.isTls =
      c.open =
      c.full =
      c.direct =
      c.paused =
      c.fin =
      c.closeAfter =
        false;
    c.kept = null;
    c.keptFrom = c.keptTo = 0;
    c.out = null;
    c.outTo = 0;
    c.why = null;
    c.meter = null;
    c.settle = null;
    c.timeout = null; // its closure belongs to the old connection
    this.#free.push(c.id % MAX_CHANNELS);
    return out;
  }
}

/** What a listener knows of a connection besides its addresses. */
export type AboutPeer = Pick<Peer, "silentMs" | "serverName">;

/**
 * Addresses and identity of a connected socket. `original` is where its client wanted to go, null
 * where that is not known; `about`: what was found out before it was accepted.
 */
export function peerOf(
  socket: net.Socket,
  peerTls: PeerTls | null,
  original: SocketAddr | null = null,
  about: AboutPeer = {},
): Peer {
  const local = { ip: normalizeIp(socket.localAddress ?? ""), port: socket.localPort ?? 0 };
  const peer = {
    local,
    remote: { ip: normalizeIp(socket.remoteAddress ?? ""), port: socket.remotePort ?? 0 },
    tls: peerTls,
    ...about,
  };
  const redirected = original !== null &&
    (original.port !== local.port || original.ip !== local.ip);
  return redirected ? { ...peer, original } : peer;
}
