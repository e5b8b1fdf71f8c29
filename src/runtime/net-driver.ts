// The portable driver: channels over `node:net` and `node:tls`, on Node and on Deno.
// Below it is the runtime, above it the cores of `proxy/http1` and `proxy/tcp`. Listening is in
// `net-listener.ts`. Nothing here knows a protocol.

import net from "node:net";
import type { SocketAddr } from "../core/addr.ts";
import type {
  Chan,
  ChanError,
  CloseHow,
  ConnectTo,
  Core,
  Driver,
  Meter,
  Out,
  Peer,
  PeerTls,
} from "../core/driver.ts";
import { createTimer, TimerWheel } from "../core/timers.ts";
import type { MeshTls } from "./mesh-tls.ts";
import { type AboutPeer, type NetChan, NetChans, peerOf } from "./net-channel.ts";
import { dial, errorKind, errorMessage, type OnRead, takeOver } from "./net-dial.ts";
import type { Tentative } from "./net-peek.ts";
import { turnWheel } from "./wheel-alarm.ts";

const READ_BYTES = 64 * 1024;
const OUT_BYTES = 64 * 1024;
/** What a core may leave unconsumed; more means that its own bound is missing, and ends the channel. */
const MAX_KEPT_BYTES = 256 * 1024;
/** A paused TLS channel goes on reading up to here; see `pause`. */
const SOFT_KEPT_BYTES = 128 * 1024;
/** Output slots kept for the next channel that writes. */
const MAX_SPARE_SLOTS = 64;
/** The system's name of an error. */
const ERRNO = /^E[A-Z\d]{2,15}$/;

/** Makes the driver of a thread. `mesh` gives the TLS contexts; without it `connect` refuses TLS. */
export class NetDriver implements Driver {
  readonly timers: TimerWheel;
  #now = performance.now();
  #depth = 0;
  readonly #chans = new NetChans();
  readonly #dirty: NetChan[] = [];
  readonly #refeed: NetChan[] = [];
  readonly #spare: Uint8Array[] = [];
  readonly #read = new Uint8Array(READ_BYTES);
  readonly #mesh: MeshTls | null;
  /** Stops the timers. */
  readonly #alarm: () => void;
  /** Told of everything that a core threw. */
  onDefect: (e: unknown) => void = () => {};

  constructor(mesh: MeshTls | null) {
    this.#mesh = mesh;
    this.timers = new TimerWheel(this.#now);
    this.#alarm = turnWheel(this.timers, (turn) => {
      this.#turn(() => turn(this.#now));
    });
  }

  get now(): number {
    return this.#now;
  }

  connect(to: ConnectTo, core: Core): Chan {
    const c = this.#make(core);
    c.timeout ??= createTimer(() => {
      if (c.open || c.socket === null) return;
      this.#fail(c, {
        kind: "connect-timeout",
        message: `no answer within ${to.timeoutMs} ms`,
      });
    });
    this.timers.arm(c.timeout, this.#now + to.timeoutMs);
    const mesh = to.tls === null ? null : this.#mesh?.client() ?? null;
    if (to.tls !== null && mesh === null) {
      c.socket = new net.Socket();
      queueMicrotask(() =>
        this.#fail(c, { kind: "identity", message: "this proxy has no certificate yet" })
      );
      return c.id;
    }
    c.isTls = to.tls !== null;
    c.socket = dial(to, mesh, this.#onread(c), (peer) => {
      if (typeof peer === "string") this.#fail(c, { kind: "identity", message: peer });
      else this.#opened(c, peer);
    });
    this.#listen(c, c.socket, c.isTls);
    return c.id;
  }

  /**
   * Takes over an accepted socket; for `net-listener.ts`. `first` are bytes that were read to detect
   * what the connection is; `about` is what was found. A plain socket must not have been read since.
   * `original` is where its client wanted to go; null: not known, or not asked for.
   */
  accepted(
    raw: net.Socket,
    peerTls: PeerTls | null,
    first: Uint8Array | null,
    accept: (ch: Chan, peer: Peer) => Core,
    original: SocketAddr | null = null,
    about: AboutPeer = {},
  ): void {
    this.#enter();
    const c = this.#make(null);
    c.isTls = peerTls !== null;
    c.open = true;
    c.peer = peerOf(raw, peerTls, original, about);
    this.#own(c, raw, first !== null);
    try {
      c.core = accept(c.id, c.peer);
      c.core.opened(c.id);
      if (first !== null && first.length > 0) this.#deliver(c, first, 0, first.length);
    } catch (e) {
      this.#defect(c, e);
    }
    this.#leave();
  }

  /**
   * Serves a connection that has said nothing for `silentMs` and may still turn out to be TLS; for
   * `net-listener.ts`, which goes on reading it. Null: `accept` wants its bytes first. `settled` is told
   * once when the core acts on the channel: plain text from then on, and the driver's alone.
   */
  tentative(
    raw: net.Socket,
    accept: (ch: Chan, peer: Peer) => Core | null,
    settled: () => void,
    original: SocketAddr | null,
    silentMs: number,
  ): Tentative | null {
    const c = this.#make(null);
    const { id } = c;
    c.socket = raw;
    c.open = true;
    c.peer = peerOf(raw, null, original, { silentMs });
    c.settle = () => {
      c.settle = null;
      settled();
      this.#own(c, raw, true);
    };
    const live = () => c.id === id && c.socket === raw;
    this.#turn(() => {
      c.core = accept(c.id, c.peer as Peer);
      if (c.core === null) this.#release(c);
      else c.core.opened(c.id);
    }, c);
    if (c.id !== id || c.settle === null) return null;
    raw.once("error", (e) => {
      if (live()) c.why ??= { kind: "reset", message: errorMessage(e) };
    });
    raw.once("close", () => {
      if (live()) this.#turn(() => this.#gone(c));
    });
    return {
      plain: (first) =>
        this.#turn(() => {
          if (!live()) return;
          c.settle?.();
          if (first.length > 0) this.#deliver(c, first, 0, first.length);
        }, c),
      withdraw: () => {
        if (!live()) return;
        const { core } = c;
        this.#release(c);
        this.#turn(() => core?.closed(id, null));
      },
    };
  }

  send(ch: Chan, buf: Uint8Array, from: number, to: number): boolean {
    const c = this.#get(ch);
    if (c === null) return true; // gone: `closed` tells the core, bytes have nowhere to go
    while (from < to) {
      if (c.outTo === OUT_BYTES) this.#flush(c);
      const out = this.#out(c);
      const n = Math.min(OUT_BYTES - c.outTo, to - from);
      if (n < 64) { for (let i = 0; i < n; i++) out[c.outTo + i] = buf[from + i] as number; }
      else out.set(buf.subarray(from, from + n), c.outTo);
      c.outTo += n;
      from += n;
    }
    this.#markDirty(c);
    return !(c.socket?.writableNeedDrain ?? false);
  }

  readonly #lent: Out = { buf: new Uint8Array(0), at: 0 };

  reserve(ch: Chan, bytes: number): Out {
    const c = this.#get(ch);
    if (c === null || bytes > OUT_BYTES) {
      this.#lent.buf = new Uint8Array(bytes);
      this.#lent.at = 0;
      return this.#lent;
    }
    if (c.outTo + bytes > OUT_BYTES) this.#flush(c);
    this.#lent.buf = this.#out(c);
    this.#lent.at = c.outTo;
    return this.#lent;
  }

  commit(ch: Chan, bytes: number): boolean {
    const c = this.#get(ch);
    if (c === null) return true;
    if (this.#lent.buf !== c.out) return this.send(ch, this.#lent.buf, 0, bytes); // larger than a slot
    c.outTo += bytes;
    this.#markDirty(c);
    return !(c.socket?.writableNeedDrain ?? false);
  }

  shutdown(ch: Chan): void {
    const c = this.#get(ch);
    if (c === null) return;
    c.settle?.();
    this.#flush(c);
    c.socket?.end();
  }

  /** The core that closes is not told `closed`. */
  close(ch: Chan, how: CloseHow): void {
    const c = this.#get(ch);
    if (c === null) return;
    c.settle?.();
    c.core = null;
    if (how === "reset" || !c.open) {
      if (c.open && !c.isTls) c.socket?.resetAndDestroy();
      else c.socket?.destroy();
      this.#release(c);
      return;
    }
    if (c.outTo > 0) {
      c.closeAfter = true; // at the end of the turn
      this.#markDirty(c);
    } else {
      this.#finish(c);
    }
  }

  adopt(ch: Chan, core: Core): void {
    const c = this.#get(ch);
    if (c === null) return;
    c.settle?.();
    c.core = core;
  }

  pause(ch: Chan): void {
    const c = this.#get(ch);
    if (c === null || c.paused) return;
    c.paused = true;
    // Deno loses the end of a TLS stream that arrives while reading is stopped, so that reading goes on
    // until so much is kept that it must stop.
    if (!c.isTls && c.settle === null) c.socket?.pause();
  }

  resume(ch: Chan): void {
    const c = this.#get(ch);
    if (c === null || !c.paused) return;
    c.paused = false;
    if ((c.keptTo > c.keptFrom || c.fin) && !c.queued) {
      // Fed when the turn ends: a core may resume from inside a call of its own.
      c.queued = true;
      this.#refeed.push(c);
      if (this.#depth === 0) queueMicrotask(() => this.#turn(() => {}));
    }
    if (c.settle === null) c.socket?.resume();
  }

  meter(ch: Chan, meter: Meter): void {
    const c = this.#get(ch);
    if (c !== null) c.meter = meter;
  }

  peer(ch: Chan): Peer {
    const c = this.#get(ch);
    if (c === null || c.peer === null) throw new Error("the channel is not open");
    return c.peer;
  }

  /** Ends all channels at once; for a process that leaves. */
  destroy(): void {
    for (const c of this.#chans.inUse()) {
      c.core = null;
      c.socket?.destroy();
      this.#release(c);
    }
    this.#alarm();
  }

  /** Runs `work` as one turn: reads the clock before, flushes after. For callers from outside. */
  run(work: () => void): void {
    this.#turn(work);
  }

  // --- channels ---------------------------------------------------------------------------------

  #make(core: Core | null): NetChan {
    const c = this.#chans.take();
    c.core = core;
    return c;
  }

  #get(ch: Chan): NetChan | null {
    return this.#chans.get(ch);
  }

  #release(c: NetChan): void {
    if (c.socket === null) return;
    if (c.timeout !== null) this.timers.cancel(c.timeout);
    const out = this.#chans.release(c);
    if (out !== null) this.#recycle(out);
  }

  #recycle(slot: Uint8Array): void {
    if (this.#spare.length < MAX_SPARE_SLOTS) this.#spare.push(slot);
  }

  // --- what the runtime says ----------------------------------------------------------------------

  #onread(c: NetChan): OnRead {
    const id = c.id;
    // One buffer for all sockets: the runtime reads into it and calls back in one step, and whatever
    // outlives the call is copied (`kept`, `out`).
    return {
      buffer: this.#read,
      callback: (n, buf) => {
        if (c.id !== id || c.socket === null) return false;
        this.#enter();
        try {
          this.#deliver(c, buf, 0, n);
        } catch (e) {
          this.#defect(c, e);
        }
        this.#leave();
        return true;
      },
    };
  }

  /** Makes an accepted socket the channel's, and reads it from now on. */
  #own(c: NetChan, raw: net.Socket, wasRead: boolean): void {
    const socket = c.isTls ? raw : takeOver(raw, this.#onread(c), wasRead);
    c.socket = socket;
    this.#listen(c, socket, socket === raw);
    if (c.paused) socket.pause();
    else if (socket === raw) raw.resume();
    if (socket !== raw || !raw.readableEnded) return;
    // Its end was told to who read it before.
    const { id } = c;
    queueMicrotask(() =>
      this.#turn(() => {
        if (c.id !== id || c.socket !== socket) return;
        c.fin = true;
        if (!c.paused) this.#ended(c);
      }, c)
    );
  }

  #listen(c: NetChan, socket: net.Socket, data: boolean): void {
    const id = c.id;
    const live = () => c.id === id && c.socket === socket;
    if (data) {
      socket.on("data", (chunk: Uint8Array) => {
        if (!live()) return;
        this.#turn(() => this.#deliver(c, chunk, 0, chunk.length), c);
      });
    }
    socket.on("end", () => {
      if (!live()) return;
      this.#turn(() => {
        c.fin = true;
        if (!c.paused) this.#ended(c);
      }, c);
    });
    socket.on("drain", () => {
      if (live()) this.#turn(() => c.core?.writable(c.id), c);
    });
    socket.on("error", (e: Error & { code?: string }) => {
      if (!live()) return;
      c.why ??= { kind: errorKind(e, c.open, c.isTls), message: errorMessage(e) };
    });
    socket.on("close", () => {
      if (live()) this.#turn(() => this.#gone(c));
    });
  }

  #opened(c: NetChan, peerTls: PeerTls | null): void {
    if (c.socket === null) return;
    if (c.timeout !== null) this.timers.cancel(c.timeout);
    c.open = true;
    c.peer = peerOf(c.socket, peerTls);
    this.#turn(() => c.core?.opened(c.id), c);
  }

  #fail(c: NetChan, why: ChanError): void {
    if (c.socket === null) return;
    c.why = why;
    const socket = c.socket;
    this.#turn(() => this.#gone(c));
    socket.destroy();
  }

  #gone(c: NetChan): void {
    const core = c.core;
    const why = c.why ?? (c.open || c.fin ? null : { kind: "connect", message: "closed" } as const);
    const id = c.id;
    // While the core is told, so that whoever counts the close knows why.
    const meter = why === null || !ERRNO.test(why.message) ? null : c.meter;
    meter?.lost?.(why?.message ?? "");
    this.#release(c);
    core?.closed(id, why);
    meter?.lost?.("");
  }

  #ended(c: NetChan): void {
    if (c.core === null) c.socket?.destroy();
    else c.core.ended(c.id);
  }

  // --- bytes in -----------------------------------------------------------------------------------

  #deliver(c: NetChan, buf: Uint8Array, from: number, to: number): void {
    c.meter?.read(to - from);
    if (c.keptTo > c.keptFrom || c.paused) {
      this.#keep(c, buf, from, to);
      if (!c.paused) this.#feedKept(c);
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

  #feedKept(c: NetChan): void {
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
    if (c.fin && !c.paused) this.#ended(c);
  }

  #keep(c: NetChan, buf: Uint8Array, from: number, to: number): void {
    const kept = c.keep(buf, from, to);
    if (kept > MAX_KEPT_BYTES) {
      this.#fail(c, { kind: "reset", message: "more unread bytes than any core may leave" });
    } else if (c.paused && (!c.isTls || kept > SOFT_KEPT_BYTES)) {
      // Also a socket that began to flow again by itself, when nobody waits for `readable` any more.
      c.socket?.pause();
    }
  }

  // --- bytes out ----------------------------------------------------------------------------------

  #out(c: NetChan): Uint8Array {
    c.out ??= this.#spare.pop() ?? new Uint8Array(OUT_BYTES);
    return c.out;
  }

  #markDirty(c: NetChan): void {
    if (c.dirty) return;
    c.settle?.();
    c.dirty = true;
    this.#dirty.push(c);
    if (this.#depth === 0) queueMicrotask(() => this.#turn(() => {}));
  }

  #flush(c: NetChan): void {
    const { socket, out, outTo } = c;
    if (socket === null || out === null || outTo === 0) return;
    c.outTo = 0;
    c.out = null;
    c.meter?.wrote(outTo);
    const view = out.subarray(0, outTo);
    if (c.isTls) {
      // TLS finishes a write later: give it bytes of its own, so that the slot is free at once.
      socket.write(Buffer.from(view));
      this.#recycle(out);
    } else {
      socket.write(view);
      // Taken by the kernel whole: nothing refers to the slot any more. Else it is left to the socket.
      if (socket.writableLength === 0) this.#recycle(out);
    }
  }

  #finish(c: NetChan): void {
    const socket = c.socket;
    this.#release(c);
    socket?.destroySoon();
  }

  // --- turns --------------------------------------------------------------------------------------

  #enter(): void {
    if (this.#depth++ === 0) this.#now = performance.now();
  }

  #leave(): void {
    if (this.#depth > 1) {
      this.#depth--;
      return;
    }
    while (this.#refeed.length > 0) {
      const c = this.#refeed.pop() as NetChan;
      c.queued = false;
      if (c.socket === null) continue;
      try {
        this.#feedKept(c);
      } catch (e) {
        this.#defect(c, e);
      }
    }
    for (let i = 0; i < this.#dirty.length; i++) {
      const c = this.#dirty[i] as NetChan;
      c.dirty = false;
      this.#flush(c);
      if (c.closeAfter) this.#finish(c);
    }
    this.#dirty.length = 0;
    this.#depth--;
  }

  #turn(work: () => void, c: NetChan | null = null): void {
    this.#enter();
    try {
      work();
    } catch (e) {
      this.#defect(c, e);
    }
    this.#leave();
  }

  /** A core threw: a defect of ours. Its connection ends, the others go on. */
  #defect(c: NetChan | null, e: unknown): void {
    this.onDefect(e);
    if (c === null || c.socket === null) return;
    const socket = c.socket;
    const core = c.core;
    const id = c.id;
    this.#release(c);
    socket.destroy();
    try {
      core?.closed(id, { kind: "reset", message: "internal error" });
    } catch (again) {
      this.onDefect(again);
    }
  }
}
