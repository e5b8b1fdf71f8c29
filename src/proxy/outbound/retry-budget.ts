// Retry budget: how many retries a destination's clients may add to their own traffic. Used once per
// request and once per retry; knows nothing of requests.

import type { RetryBudget } from "../../model/route.ts";

const SLOTS = 10;
/** Sums of shares such as 0.2 fall short of whole numbers by their rounding. */
const EPSILON = 1e-9;

/**
 * Allows retries as a share of first attempts.
 *
 * Each first attempt deposits `ratio` of a retry and each retry withdraws one; `minPerSecond` is a
 * reserve on top, so that little traffic can be retried too. Both are counted over the last `ttlMs`:
 * a busy minute does not pay for a storm an hour later. As Linkerd's and Finagle's.
 */
export class RetryTokens {
  readonly #ratio: number;
  readonly #reserve: number;
  readonly #slotMs: number;
  readonly #slots = new Float64Array(SLOTS);
  #slot = 0;
  #startedMs: number;
  #sum = 0;

  constructor(budget: RetryBudget, nowMs: number) {
    this.#ratio = budget.ratio;
    this.#reserve = budget.minPerSecond * budget.ttlMs / 1000;
    this.#slotMs = budget.ttlMs / SLOTS;
    this.#startedMs = nowMs;
  }

  /** A first attempt. */
  deposit(nowMs: number): void {
    this.#expire(nowMs);
    this.#put(this.#ratio);
  }

  /** A retry, if there is one left. */
  withdraw(nowMs: number): boolean {
    this.#expire(nowMs);
    if (this.#sum + this.#reserve < 1 - EPSILON) return false;
    this.#put(-1);
    return true;
  }

  /** Whole retries that could be made now. */
  available(nowMs: number): number {
    this.#expire(nowMs);
    return Math.max(0, Math.floor(this.#sum + this.#reserve + EPSILON));
  }

  #put(amount: number): void {
    (this.#slots[this.#slot] as number) += amount;
    this.#sum += amount;
  }

  #expire(nowMs: number): void {
    let steps = Math.floor((nowMs - this.#startedMs) / this.#slotMs);
    if (steps <= 0) return;
    this.#startedMs += steps * this.#slotMs;
    steps = Math.min(steps, SLOTS);
    while (steps-- > 0) {
      this.#slot = (this.#slot + 1) % SLOTS;
      this.#slots[this.#slot] = 0;
    }
    this.#sum = this.#slots.reduce((a, b) => a + b, 0); // no drift
  }
}
