// The portable driver: channels over `node:net` and `node:tls`, on Node and on Deno. Below it is the
// runtime, above it the cores of `proxy/http1` and `proxy/tcp`. This is the seam's side of it; what sockets
// say is in `net-sockets.ts`, listening in `net-listener.ts`. Nothing here knows a protocol.

import net from "node:net";
import type { SocketAddr } from "../core/addr.ts";
import type {
  Chan,
  CloseHow,
  ConnectTo,
  Core,
  Driver,
  Meter,
  Out,
  Peer,
  PeerTls,
} from "../core/driver.ts";
import { createTimer, type TimerWheel } from "../core/timers.ts";
import type { MeshTls } from "./mesh-tls.ts";
import { type AboutPeer, type NetChan, type NetChans, peerOf } from "./net-channel.ts";
import { dial, errorMessage } from "./net-dial.ts";
import type { Tentative } from "./net-peek.ts";
import { NetSockets } from "./net-sockets.ts";
import type { NetTurns } from "./net-turns.ts";
import type { NetWrites } from "./net-writes.ts";
import { turnWheel } from "./wheel-alarm.ts";

/** Makes the driver of a thread. `mesh` gives the TLS contexts; without it `connect` refuses TLS. */
export class NetDriver implements Driver {
  readonly timers: TimerWheel;
  readonly #sockets = new NetSockets((e) => this.onDefect(e));
  readonly #chans: NetChans;
  readonly #turns: NetTurns;
  readonly #writes: NetWrites;
  readonly #mesh: MeshTls | null;
  /** Stops the timers. */
  readonly #alarm: () => void;
  /** Told of everything that a core threw. */
  onDefect: (e: unknown) => void = () => {};

  constructor(mesh: MeshTls | null) {
    this.#mesh = mesh;
    const { timers, chans, turns, writes } = this.#sockets;
    this.timers = timers;
    this.#chans = chans;
    this.#turns = turns;
    this.#writes = writes;
    this.#alarm = turnWheel(timers, (turn) => {
      turns.run(() => turn(turns.now));
    });
  }

  get now(): number {
    return this.#turns.now;
  }

  connect(to: ConnectTo, core: Core): Chan {
    const sockets = this.#sockets;
    const c = this.#make(core);
    c.timeout ??= createTimer(() => {
      if (c.open || c.socket === null) return;
      sockets.fail(c, {
        kind: "connect-timeout",
        message: `no answer within ${to.timeoutMs} ms`,
      });
    });
    this.timers.arm(c.timeout, this.now + to.timeoutMs);
    const mesh = to.tls === null ? null : this.#mesh?.client() ?? null;
    if (to.tls !== null && mesh === null) {
      c.socket = new net.Socket();
      queueMicrotask(() =>
        sockets.fail(c, { kind: "identity", message: "this proxy has no certificate yet" })
      );
      return c.id;
    }
    c.isTls = to.tls !== null;
    c.socket = dial(to, mesh, sockets.onread(c), (peer) => {
      if (typeof peer === "string") sockets.fail(c, { kind: "identity", message: peer });
      else sockets.opened(c, peer);
    });
    sockets.listen(c, c.socket, c.isTls);
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
    const c = this.#make(null);
    this.#turns.enter();
    c.isTls = peerTls !== null;
    c.open = true;
    c.peer = peerOf(raw, peerTls, original, about);
    this.#sockets.own(c, raw, first !== null);
    try {
      c.core = accept(c.id, c.peer);
      c.core.opened(c.id);
      if (first !== null) this.#sockets.first(c, first);
    } catch (e) {
      this.#sockets.defect(c, e);
    }
    this.#turns.leave();
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
    const sockets = this.#sockets;
    const turns = this.#turns;
    const c = this.#make(null);
    const { id } = c;
    c.socket = raw;
    c.open = true;
    c.peer = peerOf(raw, null, original, { silentMs });
    c.settle = () => {
      c.settle = null;
      settled();
      sockets.own(c, raw, true);
    };
    const live = () => c.id === id && c.socket === raw;
    turns.run(() => {
      c.core = accept(c.id, c.peer as Peer);
      if (c.core === null) sockets.release(c);
      else c.core.opened(c.id);
    }, c);
    if (c.id !== id || c.settle === null) return null;
    raw.once("error", (e) => {
      if (live()) c.why ??= { kind: "reset", message: errorMessage(e) };
    });
    raw.once("close", () => {
      if (live()) turns.run(() => sockets.gone(c));
    });
    return {
      plain: (first) =>
        turns.run(() => {
          if (!live()) return;
          c.settle?.();
          sockets.first(c, first);
        }, c),
      withdraw: () => {
        if (!live()) return;
        const { core } = c;
        sockets.release(c);
        turns.run(() => core?.closed(id, null));
      },
    };
  }

  send(ch: Chan, buf: Uint8Array, from: number, to: number): boolean {
    const c = this.#chans.get(ch);
    if (c === null) return true; // gone: `closed` tells the core, bytes have nowhere to go
    this.#writes.put(c, buf, from, to);
    this.#markDirty(c);
    return !c.full;
  }

  reserve(ch: Chan, bytes: number): Out {
    return this.#writes.lend(this.#chans.get(ch), bytes);
  }

  commit(ch: Chan, bytes: number): boolean {
    const c = this.#chans.get(ch);
    if (c === null) return true;
    this.#writes.took(c, bytes);
    this.#markDirty(c);
    return !c.full;
  }

  shutdown(ch: Chan): void {
    const c = this.#chans.get(ch);
    if (c === null) return;
    c.settle?.();
    this.#writes.flush(c);
    c.direct = c.full = false;
    c.socket?.end();
  }

  /** The core that closes is not told `closed`. */
  close(ch: Chan, how: CloseHow): void {
    const c = this.#chans.get(ch);
    if (c === null) return;
    c.settle?.();
    c.core = null;
    if (how === "reset" || !c.open) {
      if (c.open && !c.isTls) c.socket?.resetAndDestroy();
      else c.socket?.destroy();
      this.#sockets.release(c);
      return;
    }
    if (c.outTo > 0) {
      c.closeAfter = true; // at the end of the turn
      this.#markDirty(c);
    } else {
      this.#sockets.finish(c);
    }
  }

  adopt(ch: Chan, core: Core): void {
    const c = this.#chans.get(ch);
    if (c === null) return;
    c.settle?.();
    c.core = core;
  }

  pause(ch: Chan): void {
    const c = this.#chans.get(ch);
    if (c === null || c.paused) return;
    c.paused = true;
    // Deno loses the end of a TLS stream that arrives while reading is stopped, so that reading goes on
    // until so much is kept that it must stop.
    if (!c.isTls && c.settle === null) c.socket?.pause();
  }

  resume(ch: Chan): void {
    const c = this.#chans.get(ch);
    if (c === null || !c.paused) return;
    c.paused = false;
    if (c.keptTo > c.keptFrom || c.fin) this.#turns.refeed(c);
    if (c.settle === null) c.socket?.resume();
  }

  meter(ch: Chan, meter: Meter): void {
    const c = this.#chans.get(ch);
    if (c !== null) c.meter = meter;
  }

  peer(ch: Chan): Peer {
    const c = this.#chans.get(ch);
    if (c === null || c.peer === null) throw new Error("the channel is not open");
    return c.peer;
  }

  /** Ends all channels at once; for a process that leaves. */
  destroy(): void {
    for (const c of this.#chans.inUse()) {
      c.core = null;
      c.socket?.destroy();
      this.#sockets.release(c);
    }
    this.#alarm();
  }

  /** Runs `work` as one turn: reads the clock before, flushes after. For callers from outside. */
  run(work: () => void): void {
    this.#turns.run(work);
  }

  #make(core: Core | null): NetChan {
    const c = this.#chans.take();
    c.core = core;
    return c;
  }

  #markDirty(c: NetChan): void {
    if (c.dirty) return;
    c.settle?.();
    this.#turns.dirty(c);
  }
}
