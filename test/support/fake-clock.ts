// A clock that stands still until a test moves it. Stands in for `core/clock.ts` in every test of
// time-outs, back-offs and averages; nothing here waits for real time.

import type { Clock } from "../../src/core/clock.ts";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
}

/** A `Clock` whose time is a number. `advance` fires what becomes due, in order of its due time. */
export class FakeClock implements Clock {
  #nowMs: number;
  #wallOffsetMs: number;
  #order = 0;
  readonly #timers = new Set<Timer>();

  /** Starts at 0 on the monotonic clock; `wallMs` is the date then. */
  constructor(wallMs = Date.UTC(2030, 0, 1)) {
    this.#nowMs = 0;
    this.#wallOffsetMs = wallMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wall(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  after(ms: number, fire: () => void): () => void {
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, ms), order: this.#order++, fire };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Timers that wait. A test asserts 0 at its end to show that nothing was left behind. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves the date without moving time, as an administrator or NTP does. */
  setWall(wallMs: number): void {
    this.#wallOffsetMs = wallMs - this.#nowMs;
  }

  /** Moves time by `ms`. A timer sees its own due time as `now`, and may set further timers. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#next(endMs);
      if (next === null) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fire();
    }
    this.#nowMs = endMs;
  }

  /** As `advance`, and lets promises settle before and after each timer. */
  async advanceAsync(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = this.#next(endMs);
      if (next === null) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fire();
      await settle();
    }
    this.#nowMs = endMs;
  }

  #next(endMs: number): Timer | null {
    let first: Timer | null = null;
    for (const t of this.#timers) {
      if (t.dueMs > endMs) continue;
      if (
        first === null || t.dueMs < first.dueMs ||
        (t.dueMs === first.dueMs && t.order < first.order)
      ) {
        first = t;
      }
    }
    return first;
  }
}

/** Lets every promise that can settle without I/O do so. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
