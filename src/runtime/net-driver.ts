// The portable driver: channels over `node:net` and `node:tls`, on Node and on Deno.
// Below it is the runtime, above it the cores of `proxy/http1` and `proxy/tcp`. Listening is in
// `net-listener.ts`. Nothing here knows a protocol.

import net from "node:net";
import tls from "node:tls";
import { normalizeIp } from "../core/addr.ts";
import type {
  Chan,
  ChanError,
  CloseHow,
  ConnectTo,
  Core,
  Driver,
  Out,
  Peer,
  PeerTls,
} from "../core/driver.ts";
import { createTimer, type Timer, TimerWheel } from "../core/timers.ts";
import type { MeshTls } from "./mesh-tls.ts";
import { serverPeer } from "./peer-identity.ts";

const READ_BYTES = 64 * 1024;
const OUT_BYTES = 64 * 1024;
/** What a core may leave unconsumed; more means that its own bound is missing, and ends the channel. */
const MAX_KEPT_BYTES = 256 * 1024;
/** A paused TLS channel goes on reading up to here; see `pause`. */
const SOFT_KEPT_BYTES = 128 * 1024;
const INDEX_BITS = 20;
const MAX_CHANNELS = 1 << INDEX_BITS;
const GENERATIONS = 1 << 11;

/** One channel's state. Known only here; everybody else holds its number. */
class NetChan {
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
  out: Uint8Array | null = null;
  outTo = 0;
  dirty = false;
  paused = false;
  queued = false;
  fin = false;
  closeAfter = false;
  why: ChanError | null = null;
  timeout: Timer | null = null;
}

/** Makes the driver of a thread. `mesh` gives the TLS contexts; without it `connect` refuses TLS. */
export class NetDriver implements Driver {
  readonly timers: TimerWheel;
  #now = performance.now();
  #depth = 0;
  readonly #chans: NetChan[] = [];
  readonly #free: number[] = [];
  readonly #dirty: NetChan[] = [];
  readonly #refeed: NetChan[] = [];
  readonly #spare: Uint8Array[] = [];
  readonly #read = new Uint8Array(READ_BYTES);
  readonly #mesh: MeshTls | null;
  #wakeTimer: ReturnType<typeof setTimeout> | null = null;
  #open = 0;
  /** Told of everything that a core threw. */
  onDefect: (e: unknown) => void = () => {};

  constructor(mesh: MeshTls | null) {
    this.#mesh = mesh;
    this.timers = new TimerWheel(this.#now);
    this.timers.onEarlier = (at) => this.#plan(at);
  }

  get now(): number {
    return this.#now;
  }

  /** Channels in use. */
  get channels(): number {
    return this.#open;
  }

  connect(to: ConnectTo, core: Core): Chan {
    const c = this.#make(core);
    const at = {
      host: to.addr.ip,
      port: to.addr.port,
      ...(to.from === null ? {} : { localAddress: to.from }),
      allowHalfOpen: true,
      noDelay: true,
    };
    c.timeout ??= createTimer(() => {
      if (c.open || c.socket === null) return;
      this.#fail(c, {
        kind: "connect-timeout",
        message: `no answer within ${to.timeoutMs} ms`,
      });
    });
    this.timers.arm(c.timeout, this.#now + to.timeoutMs);
    if (to.tls === null) {
      const socket = net.connect({ ...at, onread: this.#onread(c) });
      c.socket = socket;
      socket.once("connect", () => this.#opened(c, null));
      this.#listen(c, socket, false);
      return c.id;
    }
    const mesh = this.#mesh?.client() ?? null;
    if (mesh === null) {
      c.socket = new net.Socket();
      queueMicrotask(() =>
        this.#fail(c, { kind: "identity", message: "this proxy has no certificate yet" })
      );
      return c.id;
    }
    const { serverName, identity, alpn } = to.tls;
    const socket = tls.connect({
      ...at,
      secureContext: mesh,
      ...(serverName === "" ? {} : { servername: serverName }),
      minVersion: "TLSv1.3",
      rejectUnauthorized: true,
      // The SNI is not what is checked, the identity is, once, in peer-identity.ts.
      checkServerIdentity: () => undefined,
      ...(alpn === null ? {} : { ALPNProtocols: [alpn] }),
    });
    c.socket = socket;
    c.isTls = true;
    socket.once("secureConnect", () => {
      const peer = serverPeer(socket, identity, alpn);
      if (typeof peer === "string") this.#fail(c, { kind: "identity", message: peer });
      else this.#opened(c, peer);
    });
    this.#listen(c, socket, true);
    return c.id;
  }

  /**
   * Takes over an accepted socket; for `net-listener.ts`. `first` are bytes that were read to detect
   * what the connection is. A plain socket must not have been read since.
   */
  accepted(
    raw: net.Socket,
    peerTls: PeerTls | null,
    first: Uint8Array | null,
    accept: (ch: Chan, peer: Peer) => Core,
  ): void {
    this.#enter();
    const c = this.#make(null);
    let socket = raw;
    if (peerTls === null) socket = this.#steal(c, raw);
    c.socket = socket;
    c.isTls = peerTls !== null;
    c.open = true;
    c.peer = peerOf(socket, peerTls);
    this.#listen(c, socket, peerTls !== null);
    try {
      c.core = accept(c.id, c.peer);
      c.core.opened(c.id);
      if (first !== null && first.length > 0) this.#deliver(c, first, 0, first.length);
    } catch (e) {
      this.#defect(c, e);
    }
    this.#leave();
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
    this.#flush(c);
    c.socket?.end();
  }

  /** The core that closes is not told `closed`. */
  close(ch: Chan, how: CloseHow): void {
    const c = this.#get(ch);
    if (c === null) return;
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
    if (c !== null) c.core = core;
  }

  pause(ch: Chan): void {
    const c = this.#get(ch);
    if (c === null || c.paused) return;
    c.paused = true;
    // Deno loses the end of a TLS stream that arrives while reading is stopped, so that reading goes on
    // until so much is kept that it must stop.
    if (!c.isTls) c.socket?.pause();
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
    c.socket?.resume();
  }

  peer(ch: Chan): Peer {
    const c = this.#get(ch);
    if (c === null || c.peer === null) throw new Error("the channel is not open");
    return c.peer;
  }

  /** Ends all channels at once; for a process that leaves. */
  destroy(): void {
    for (const c of this.#chans) {
      if (c.socket === null) continue;
      c.core = null;
      c.socket.destroy();
      this.#release(c);
    }
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
    this.timers.onEarlier = null;
  }

  /** Runs `work` as one turn: reads the clock before, flushes after. For callers from outside. */
  run(work: () => void): void {
    this.#turn(work);
  }

  // --- channels ---------------------------------------------------------------------------------

  #make(core: Core | null): NetChan {
    const index = this.#free.pop() ?? this.#chans.length;
    if (index >= MAX_CHANNELS) throw new Error("too many open connections");
    let c = this.#chans[index];
    if (c === undefined) {
      c = new NetChan();
      this.#chans[index] = c;
    }
    c.generation = (c.generation + 1) % GENERATIONS;
    c.id = c.generation * MAX_CHANNELS + index;
    c.core = core;
    this.#open++;
    return c;
  }

  #get(ch: Chan): NetChan | null {
    const c = this.#chans[ch % MAX_CHANNELS];
    return c !== undefined && c.id === ch && c.socket !== null ? c : null;
  }

  #release(c: NetChan): void {
    if (c.socket === null) return;
    if (c.timeout !== null) {
      this.timers.cancel(c.timeout);
      c.timeout = null; // its closure belongs to the old connection
    }
    c.socket = null;
    c.core = null;
    c.peer = null;
    c.isTls =
      c.open =
      c.paused =
      c.fin =
      c.closeAfter =
        false;
    c.kept = null;
    c.keptFrom = c.keptTo = 0;
    if (c.out !== null && this.#spare.length < 64) this.#spare.push(c.out);
    c.out = null;
    c.outTo = 0;
    c.why = null;
    this.#open--;
    this.#free.push(c.id % MAX_CHANNELS);
  }

  // --- what the runtime says ----------------------------------------------------------------------

  #onread(c: NetChan): { buffer: Uint8Array; callback: (n: number, buf: Uint8Array) => boolean } {
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

  /** A socket that reads into our buffer, in place of an accepted one that has not read yet. */
  #steal(c: NetChan, raw: net.Socket): net.Socket {
    const from = raw as net.Socket & { _handle: unknown };
    const handle = from._handle;
    if (handle === null || handle === undefined) return raw;
    from._handle = null;
    const options = { handle, allowHalfOpen: true, onread: this.#onread(c) };
    const socket = new net.Socket(options as unknown as net.SocketConstructorOpts);
    // The server counts the socket that it accepted.
    socket.once("close", () => raw.destroy());
    // Deno reads ahead: an end that came with the first bytes was told to the old socket.
    raw.once("end", () => socket.emit("end"));
    raw.resume();
    return socket;
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
      c.why ??= {
        kind: c.open ? "reset" : c.isTls && e.code !== "ECONNREFUSED" ? "identity" : "connect",
        message: e.code ?? e.message,
      };
      if (c.why.kind === "identity" && isNetworkCode(e.code)) {
        c.why = { kind: "connect", message: e.code ?? e.message };
      }
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
    this.#release(c);
    core?.closed(id, why);
  }

  #ended(c: NetChan): void {
    if (c.core === null) c.socket?.destroy();
    else c.core.ended(c.id);
  }

  // --- bytes in -----------------------------------------------------------------------------------

  #deliver(c: NetChan, buf: Uint8Array, from: number, to: number): void {
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
    const have = c.keptTo - c.keptFrom;
    const need = have + to - from;
    if (need > MAX_KEPT_BYTES) {
      this.#fail(c, { kind: "reset", message: "more unread bytes than any core may leave" });
      return;
    }
    if (c.kept === null || c.kept.length - c.keptTo < to - from) {
      const room = c.kept !== null && c.kept.length >= need ? c.kept : new Uint8Array(
        Math.max(4096, 2 ** Math.ceil(Math.log2(need))),
      );
      if (c.kept !== null) {
        if (room === c.kept) room.copyWithin(0, c.keptFrom, c.keptTo);
        else room.set(c.kept.subarray(c.keptFrom, c.keptTo));
      }
      c.kept = room;
      c.keptFrom = 0;
      c.keptTo = have;
    }
    c.kept.set(buf.subarray(from, to), c.keptTo);
    c.keptTo += to - from;
    if (c.isTls && c.paused && need > SOFT_KEPT_BYTES) c.socket?.pause();
  }

  // --- bytes out ----------------------------------------------------------------------------------

  #out(c: NetChan): Uint8Array {
    c.out ??= this.#spare.pop() ?? new Uint8Array(OUT_BYTES);
    return c.out;
  }

  #markDirty(c: NetChan): void {
    if (c.dirty) return;
    c.dirty = true;
    this.#dirty.push(c);
    if (this.#depth === 0) queueMicrotask(() => this.#turn(() => {}));
  }

  #flush(c: NetChan): void {
    const { socket, out, outTo } = c;
    if (socket === null || out === null || outTo === 0) return;
    c.outTo = 0;
    c.out = null;
    const view = out.subarray(0, outTo);
    if (c.isTls) {
      // TLS finishes a write later: give it bytes of its own, so that the slot is free at once.
      socket.write(Buffer.from(view));
      this.#spare.push(out);
    } else {
      socket.write(view);
      // Taken by the kernel whole: nothing refers to the slot any more. Else it is left to the socket.
      if (socket.writableLength === 0 && this.#spare.length < 64) this.#spare.push(out);
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

  #plan(at: number): void {
    if (at >= this.timers.planned) return;
    this.timers.planned = at;
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
    this.#wakeTimer = setTimeout(() => {
      this.timers.planned = Infinity;
      this.#wakeTimer = null;
      this.#turn(() => this.timers.turn(this.#now));
      const next = this.timers.nextAt();
      if (next !== Infinity) this.#plan(next);
    }, Math.max(1, at - performance.now()));
  }
}

function peerOf(socket: net.Socket, peerTls: PeerTls | null): Peer {
  return {
    local: { ip: normalizeIp(socket.localAddress ?? ""), port: socket.localPort ?? 0 },
    remote: { ip: normalizeIp(socket.remoteAddress ?? ""), port: socket.remotePort ?? 0 },
    tls: peerTls,
  };
}

function isNetworkCode(code: string | undefined): boolean {
  return code !== undefined &&
    /^(ECONNRESET|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|EPIPE)$/.test(code);
}
