// The share of an endpoint's answers that were good, over a window of the newest seconds. Used by the
// breaker; knows outcomes and the clock.

import type { SuccessRate } from "../../model/accrual.ts";

/** Linkerd's: the window moves in tenths. */
const SLOTS = 10;

/** A moving window of outcomes. */
export class SuccessWindow {
  readonly #o: SuccessRate;
  readonly #slotMs: number;
  readonly #good = new Int32Array(SLOTS);
  readonly #bad = new Int32Array(SLOTS);
  #slot = 0;
  #startedMs: number;

  constructor(o: SuccessRate, nowMs: number) {
    this.#o = o;
    this.#slotMs = o.windowMs / SLOTS;
    this.#startedMs = nowMs;
  }

  /** Counts an outcome; true: there were enough of them, and too few were good. */
  add(failed: boolean, nowMs: number): boolean {
    this.#move(nowMs);
    const counts = failed ? this.#bad : this.#good;
    (counts[this.#slot] as number)++;
    const good = sum(this.#good);
    const all = good + sum(this.#bad);
    return all >= this.#o.minRequests && good / all < this.#o.threshold;
  }

  /** Forgets all: what an endpoint did before it was ejected says nothing of what it does now. */
  clear(): void {
    this.#good.fill(0);
    this.#bad.fill(0);
  }

  #move(nowMs: number): void {
    const steps = Math.floor((nowMs - this.#startedMs) / this.#slotMs);
    if (steps <= 0) return;
    this.#startedMs += steps * this.#slotMs;
    for (let i = 0; i < Math.min(steps, SLOTS); i++) {
      this.#slot = (this.#slot + 1) % SLOTS;
      this.#good[this.#slot] = 0;
      this.#bad[this.#slot] = 0;
    }
  }
}

function sum(slots: Int32Array): number {
  let total = 0;
  for (let i = 0; i < SLOTS; i++) total += slots[i] as number;
  return total;
}
