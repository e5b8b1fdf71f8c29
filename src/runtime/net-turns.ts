// The turns of the portable driver: one for each event of the runtime. In it the clock stands still; at
// its end what was kept is fed to cores that resumed, and what was sent is written. Knows no sockets.

import type { NetChan } from "./net-channel.ts";

/** What a turn does for channels. */
export interface TurnWork {
  /** Feeds what was kept to a core that resumed. */
  feedKept(c: NetChan): void;
  /** Writes what was sent, and closes what was to be closed after it. */
  flush(c: NetChan): void;
  /** A core threw: a defect of ours. */
  defect(c: NetChan | null, e: unknown): void;
}

/** Runs turns, one inside another where a core causes an event. */
export class NetTurns {
  /** When the turn began, by `performance.now()`. */
  now = performance.now();
  readonly #work: TurnWork;
  #depth = 0;
  /** The first `#dirties` are to be written; the array is not emptied, which would cost its memory. */
  readonly #dirty: NetChan[] = [];
  #dirties = 0;
  readonly #refeed: NetChan[] = [];

  constructor(work: TurnWork) {
    this.#work = work;
  }

  /** Begins a turn; `leave` must follow. */
  enter(): void {
    if (this.#depth++ === 0) this.now = performance.now();
  }

  leave(): void {
    if (this.#depth > 1) {
      this.#depth--;
      return;
    }
    if (this.#refeed.length > 0) this.#feed();
    for (let i = 0; i < this.#dirties; i++) {
      const c = this.#dirty[i] as NetChan;
      c.dirty = false;
      this.#work.flush(c);
    }
    this.#dirties = 0;
    this.#depth--;
  }

  /** Runs `work` as a turn; what it throws is a defect of `c`. */
  run(work: () => void, c: NetChan | null = null): void {
    this.enter();
    try {
      work();
    } catch (e) {
      this.#work.defect(c, e);
    }
    this.leave();
  }

  /** There is something to write when the turn ends. */
  dirty(c: NetChan): void {
    if (c.dirty) return;
    c.dirty = true;
    this.#dirty[this.#dirties++] = c;
    if (this.#depth === 0) this.#soon();
  }

  /** There is something to feed when the turn ends: a core may resume from inside a call of its own. */
  refeed(c: NetChan): void {
    if (c.queued) return;
    c.queued = true;
    this.#refeed.push(c);
    if (this.#depth === 0) this.#soon();
  }

  #soon(): void {
    queueMicrotask(() => this.run(() => {}));
  }

  #feed(): void {
    while (this.#refeed.length > 0) {
      const c = this.#refeed.pop() as NetChan;
      c.queued = false;
      if (c.socket === null) continue;
      try {
        this.#work.feedKept(c);
      } catch (e) {
        this.#work.defect(c, e);
      }
    }
  }
}
