// The times of an HTTP/2 connection: what began must become whole, a quiet peer is asked whether it is
// there, an idle connection and streams that nobody reads come to an end. One timer for what must come,
// one for the rest; session.ts acts on what is found.

import type { Driver } from "../../core/driver.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import type { SessionOptions } from "./session-options.ts";
import type { StreamTable } from "./stream-table.ts";

/** How long a connection that we end waits for the peer to have read why. */
const LINGER_MS = 1000;
/** How long a drain waits for the peer to know of it before it refuses streams; a busy peer is not lost. */
const DRAIN_MS = 3000;

/** What is due; each is done by the session. */
export interface Due {
  /** Something that began did not become whole in time. */
  late(): void;
  /** A drain's time is over: the peer knows of it. */
  drained(): void;
  /** Nothing was asked for so long that the connection may end. */
  idle(): void;
  /** The peer is to be asked whether it is there. */
  ping(): void;
  /** It did not answer. */
  deaf(): void;
  /** Streams whose peer reads nothing of what waits for `stallMs` are to be ended. */
  stalled(): void;
  /** A connection that was ended has waited for its peer. */
  lingered(): void;
}

export class SessionWatch {
  /** When a frame last came. */
  heardMs = 0;
  readonly #driver: Driver;
  readonly #o: SessionOptions;
  readonly #streams: StreamTable;
  readonly #due: Due;
  readonly #slow: Timer;
  readonly #tick: Timer;
  #quietMs = 0; // since when there is no stream
  #pingMs = Infinity; // when an unanswered PING of ours was sent
  #draining = false;

  constructor(driver: Driver, options: SessionOptions, streams: StreamTable, due: Due) {
    this.#driver = driver;
    this.#o = options;
    this.#streams = streams;
    this.#due = due;
    this.#slow = createTimer(() => due.late());
    this.#tick = createTimer(() => this.#look());
  }

  /** The connection begins: the preface is awaited. */
  begin(): void {
    this.heardMs = this.#quietMs = this.#driver.now;
    this.await();
    this.arm();
  }

  /** Whether something must become whole. */
  get awaits(): boolean {
    return this.#slow.at !== Infinity;
  }

  /** Something began: it has `headMs` to become whole. */
  await(): void {
    this.#driver.timers.arm(this.#slow, this.#driver.now + this.#o.headMs);
  }

  /** It is whole. */
  whole(): void {
    this.#driver.timers.cancel(this.#slow);
  }

  /** The last stream is gone. */
  quiet(): void {
    this.#quietMs = this.#driver.now;
    this.arm();
  }

  /** A PING went out. */
  pinged(): void {
    this.#pingMs = this.#driver.now;
  }

  /** Its answer is in; whether one was awaited. */
  answered(): boolean {
    const awaited = this.#pingMs !== Infinity;
    this.#pingMs = Infinity;
    return awaited;
  }

  /** A drain began. */
  drain(): void {
    this.#draining = true;
    this.arm();
  }

  /** We have ended the connection; the peer may still read. */
  linger(): void {
    this.#driver.timers.arm(this.#tick, this.#driver.now + LINGER_MS);
  }

  /** Nothing is due any more. */
  stop(): void {
    this.#driver.timers.cancel(this.#slow);
    this.#driver.timers.cancel(this.#tick);
  }

  /** Sets the next moment at which idle, keep-alive, stalled streams or a drain must be looked at. */
  arm(): void {
    const { now, timers } = this.#driver;
    const o = this.#o;
    let at = now + o.stallMs / 2;
    if (this.#streams.size === 0) at = Math.min(at, this.#quietMs + o.idleMs);
    if (o.keepAlive !== null) {
      at = Math.min(
        at,
        this.#pingMs === Infinity
          ? this.heardMs + o.keepAlive.intervalMs
          : this.#pingMs + o.keepAlive.timeoutMs,
      );
    }
    if (this.#draining) at = Math.min(at, now + DRAIN_MS);
    if (at !== Infinity) timers.arm(this.#tick, Math.max(now + 1, at));
  }

  #look(): void {
    const { now } = this.#driver;
    const { idleMs, keepAlive } = this.#o;
    const streams = this.#streams;
    if (streams.over) return this.#due.lingered();
    if (this.#draining) this.#due.drained();
    if (streams.over) return;
    if (streams.size === 0 && now - this.#quietMs >= idleMs) return this.#due.idle();
    if (keepAlive !== null) {
      if (this.#pingMs === Infinity) {
        if (now - this.heardMs >= keepAlive.intervalMs) this.#due.ping();
      } else if (this.heardMs >= this.#pingMs) this.#pingMs = Infinity;
      else if (now - this.#pingMs >= keepAlive.timeoutMs) return this.#due.deaf();
    }
    this.#due.stalled();
    if (!streams.over) this.arm();
  }
}
