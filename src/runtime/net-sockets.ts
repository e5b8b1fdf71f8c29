// The sockets of the portable driver's channels: what the runtime says of them, told to their cores in
// turns, and how channels end. Below `net-driver.ts`, which is the seam; above reads, writes and turns.

import type net from "node:net";
import type { Chan, ChanError, PeerTls } from "../core/driver.ts";
import { TimerWheel } from "../core/timers.ts";
import { type NetChan, NetChans, peerOf } from "./net-channel.ts";
import { errorKind, errorMessage, type OnRead, takeOver } from "./net-dial.ts";
import { NetReads, type ReadEnds } from "./net-reads.ts";
import { NetTurns, type TurnWork } from "./net-turns.ts";
import { mayWriteNow } from "./net-write-now.ts";
import { NetWrites } from "./net-writes.ts";

/** The system's name of an error. */
const ERRNO = /^E[A-Z\d]{2,15}$/;

/** All channels of a driver with their sockets. */
export class NetSockets implements TurnWork, ReadEnds {
  readonly chans = new NetChans();
  readonly turns: NetTurns;
  readonly writes = new NetWrites();
  readonly timers: TimerWheel;
  readonly #reads: NetReads;
  readonly #onDefect: (e: unknown) => void;

  /** `onDefect` is told of everything that a core throws. */
  constructor(onDefect: (e: unknown) => void) {
    this.#onDefect = onDefect;
    this.turns = new NetTurns(this);
    this.timers = new TimerWheel(this.turns.now);
    this.#reads = new NetReads(this);
  }

  // --- what the runtime says ----------------------------------------------------------------------

  /** For a socket of the channel: where it reads into. */
  onread(c: NetChan): OnRead {
    const id = c.id;
    const { turns } = this;
    const reads = this.#reads;
    return {
      buffer: reads.buffer,
      callback: (n, buf) => {
        if (c.id !== id || c.socket === null) return false;
        turns.enter();
        try {
          reads.deliver(c, buf, 0, n);
        } catch (e) {
          this.defect(c, e);
        }
        turns.leave();
        return true;
      },
    };
  }

  /** Makes an accepted socket the channel's, and reads it from now on. */
  own(c: NetChan, raw: net.Socket, wasRead: boolean): void {
    const socket = c.isTls ? raw : takeOver(raw, this.onread(c), wasRead);
    c.socket = socket;
    c.direct = !c.isTls && mayWriteNow(socket);
    this.listen(c, socket, socket === raw);
    if (c.paused) socket.pause();
    else if (socket === raw) raw.resume();
    if (socket !== raw || !raw.readableEnded) return;
    // Its end was told to who read it before.
    const { id } = c;
    queueMicrotask(() =>
      this.turns.run(() => {
        if (c.id !== id || c.socket !== socket) return;
        c.fin = true;
        if (!c.paused) this.ended(c);
      }, c)
    );
  }

  /** Hears what a socket says. `data`: also of its bytes, which `onread` does not give. */
  listen(c: NetChan, socket: net.Socket, data: boolean): void {
    const id = c.id;
    const live = () => c.id === id && c.socket === socket;
    if (data) {
      socket.on("data", (chunk: Uint8Array) => {
        if (!live()) return;
        this.turns.run(() => this.#reads.deliver(c, chunk, 0, chunk.length), c);
      });
    }
    socket.on("end", () => {
      if (!live()) return;
      this.turns.run(() => {
        c.fin = true;
        if (!c.paused) this.ended(c);
      }, c);
    });
    socket.on("drain", () => {
      if (!live()) return;
      c.full = false;
      this.turns.run(() => c.core?.writable(c.id), c);
    });
    socket.on("error", (e: Error & { code?: string }) => {
      if (!live()) return;
      c.why ??= { kind: errorKind(e, c.open, c.isTls), message: errorMessage(e) };
    });
    socket.on("close", () => {
      if (live()) this.turns.run(() => this.gone(c));
    });
  }

  /** It is connected, and its TLS verified. */
  opened(c: NetChan, peerTls: PeerTls | null): void {
    if (c.socket === null) return;
    if (c.timeout !== null) this.timers.cancel(c.timeout);
    c.open = true;
    c.direct = !c.isTls && mayWriteNow(c.socket);
    c.peer = peerOf(c.socket, peerTls);
    this.turns.run(() => c.core?.opened(c.id), c);
  }

  /** Bytes that were read before the socket was the channel's. */
  first(c: NetChan, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#reads.deliver(c, bytes, 0, bytes.length);
  }

  // --- for turns and reads ------------------------------------------------------------------------

  feedKept(c: NetChan): void {
    this.#reads.feedKept(c);
  }

  flush(c: NetChan): void {
    this.writes.flush(c);
    if (c.closeAfter) this.finish(c);
  }

  /** The peer's FIN, told to the core. */
  ended(c: NetChan): void {
    if (c.core === null) c.socket?.destroy();
    else c.core.ended(c.id);
  }

  // --- how channels end ---------------------------------------------------------------------------

  fail(c: NetChan, why: ChanError): void {
    if (c.socket === null) return;
    c.why = why;
    const socket = c.socket;
    this.turns.run(() => this.gone(c));
    socket.destroy();
  }

  /** The socket is closed: its core is told. */
  gone(c: NetChan): void {
    const core = c.core;
    const why = c.why ?? (c.open || c.fin ? null : { kind: "connect", message: "closed" } as const);
    const id: Chan = c.id;
    // While the core is told, so that whoever counts the close knows why.
    const meter = why === null || !ERRNO.test(why.message) ? null : c.meter;
    meter?.lost?.(why?.message ?? "");
    this.release(c);
    core?.closed(id, why);
    meter?.lost?.("");
  }

  /** Ends it after what was written. */
  finish(c: NetChan): void {
    const socket = c.socket;
    this.release(c);
    socket?.destroySoon();
  }

  /** The channel's number may be another's from now on. */
  release(c: NetChan): void {
    if (c.socket === null) return;
    if (c.timeout !== null) this.timers.cancel(c.timeout);
    const out = this.chans.release(c);
    if (out !== null) this.writes.recycle(out);
  }

  /** A core threw: its connection ends, the others go on. */
  defect(c: NetChan | null, e: unknown): void {
    this.#onDefect(e);
    if (c === null || c.socket === null) return;
    const socket = c.socket;
    const core = c.core;
    const id = c.id;
    this.release(c);
    socket.destroy();
    try {
      core?.closed(id, { kind: "reset", message: "internal error" });
    } catch (again) {
      this.#onDefect(again);
    }
  }
}
