// A driver without sockets and without time: cores meet the test, which plays the peer. Follows the
// contract of `core/driver.ts`: unconsumed bytes are kept, a paused channel is not fed, a core that
// closes is not told.

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
} from "../../src/core/driver.ts";
import { TimerWheel } from "../../src/core/timers.ts";

/** The other end of a channel, in a test's hands. */
export class TestPeer {
  readonly to: ConnectTo | null;
  readonly ch: Chan;
  core: Core | null;
  readonly peer: Peer;
  /** All that the core sent, as latin-1 text. */
  sent = "";
  /** How the core closed, or null. */
  closed: CloseHow | null = null;
  shutdown = false;
  paused = false;
  /** While true, `send` answers false, as a socket over its high-water mark does. */
  full = false;
  kept = new Uint8Array(0);
  fin = false;
  meter: Meter | null = null;

  constructor(ch: Chan, core: Core, to: ConnectTo | null, peer: Peer) {
    this.ch = ch;
    this.core = core;
    this.to = to;
    this.peer = peer;
  }

  /** What was sent since the last call. */
  take(): string {
    const text = this.sent;
    this.sent = "";
    return text;
  }
}

const HERE: Peer = {
  local: { ip: "127.77.0.1", port: 4140 },
  remote: { ip: "127.77.0.1", port: 50000 },
  tls: null,
};

export class MemoryDriver implements Driver {
  readonly timers = new TimerWheel(0);
  now = 0;
  readonly peers: TestPeer[] = [];
  /** Channels that cores asked to connect, oldest first. */
  readonly connects: TestPeer[] = [];
  readonly #lent: Out = { buf: new Uint8Array(0), at: 0 };

  /** Hands a core to a new, open channel. */
  accept(make: (ch: Chan, peer: Peer) => Core, peer: Peer = HERE): TestPeer {
    const ch = this.peers.length;
    const made = new TestPeer(ch, NOBODY, null, peer);
    this.peers.push(made);
    made.core = make(ch, peer);
    made.core.opened(ch);
    return made;
  }

  /** Completes a connect. */
  open(p: TestPeer): void {
    p.core?.opened(p.ch);
  }

  /** Fails a connect, or resets an open channel. */
  fail(p: TestPeer, why: ChanError): void {
    const core = p.core;
    p.core = null;
    core?.closed(p.ch, why);
  }

  /** The peer sends; text is latin-1. */
  feed(p: TestPeer, data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? Uint8Array.from(data, (c) => c.charCodeAt(0)) : data;
    p.meter?.read(bytes.length);
    const joined = new Uint8Array(p.kept.length + bytes.length);
    joined.set(p.kept);
    joined.set(bytes, p.kept.length);
    p.kept = joined;
    this.#feedKept(p);
  }

  /** The peer ends its direction. */
  end(p: TestPeer): void {
    p.fin = true;
    if (!p.paused) p.core?.ended(p.ch);
  }

  /** The peer reads on after `full`. */
  drain(p: TestPeer): void {
    p.full = false;
    p.core?.writable(p.ch);
  }

  /** Moves time. */
  advance(ms: number): void {
    const end = this.now + ms;
    while (this.now < end) {
      this.now = Math.min(end, this.now + 16);
      this.timers.turn(this.now);
    }
  }

  connect(to: ConnectTo, core: Core): Chan {
    const p = new TestPeer(this.peers.length, core, to, HERE);
    this.peers.push(p);
    this.connects.push(p);
    return p.ch;
  }

  send(ch: Chan, buf: Uint8Array, from: number, to: number): boolean {
    const p = this.#peer(ch);
    p.meter?.wrote(to - from);
    for (let i = from; i < to; i++) p.sent += String.fromCharCode(buf[i] as number);
    return !p.full;
  }

  reserve(_ch: Chan, bytes: number): Out {
    this.#lent.buf = new Uint8Array(bytes);
    this.#lent.at = 0;
    return this.#lent;
  }

  commit(ch: Chan, bytes: number): boolean {
    if (bytes > this.#lent.buf.length) throw new Error("more was written than reserved");
    return this.send(ch, this.#lent.buf, 0, bytes);
  }

  shutdown(ch: Chan): void {
    this.#peer(ch).shutdown = true;
  }

  close(ch: Chan, how: CloseHow): void {
    const p = this.#peer(ch);
    p.core = null;
    p.closed ??= how;
  }

  adopt(ch: Chan, core: Core): void {
    this.#peer(ch).core = core;
  }

  pause(ch: Chan): void {
    this.#peer(ch).paused = true;
  }

  resume(ch: Chan): void {
    const p = this.#peer(ch);
    if (!p.paused) return;
    p.paused = false;
    queueMicrotask(() => {
      this.#feedKept(p);
      if (p.fin && !p.paused) p.core?.ended(p.ch);
    });
  }

  meter(ch: Chan, meter: Meter): void {
    this.#peer(ch).meter = meter;
  }

  peer(ch: Chan): Peer {
    return this.#peer(ch).peer;
  }

  #peer(ch: Chan): TestPeer {
    const p = this.peers[ch];
    if (p === undefined) throw new Error(`no channel ${ch}`);
    return p;
  }

  #feedKept(p: TestPeer): void {
    while (p.kept.length > 0 && p.core !== null && !p.paused) {
      const core = p.core;
      // A fresh copy that is overwritten afterwards: lent bytes must not be kept by reference.
      const lent = p.kept.slice();
      const n = core.feed(p.ch, lent, 0, lent.length);
      lent.fill(0x21);
      if (n < 0 || n > p.kept.length) {
        throw new Error(`a core consumed ${n} of ${p.kept.length} bytes`);
      }
      p.kept = p.kept.slice(n);
      if (n === 0 && p.core === core) return;
    }
  }
}

const NOBODY: Core = {
  opened() {},
  feed: (_c, _b, from, to) => to - from,
  writable() {},
  ended() {},
  closed() {},
};

/** Lets queued microtasks run: `resume` feeds at the end of a turn. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 4; i++) await Promise.resolve();
}
