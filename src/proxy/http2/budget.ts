// How much work a peer may ask for that brings nothing: one number that refills with time and with
// useful frames. A connection that spends it is ended. Below session.ts.

/** A token bucket that a flood empties and honest traffic does not. */
export class Budget {
  readonly #capacity: number;
  readonly #perMs: number;
  #left: number;
  #atMs: number;

  constructor(capacity: number, perSecond: number, nowMs: number) {
    this.#capacity = capacity;
    this.#perMs = perSecond / 1000;
    this.#left = capacity;
    this.#atMs = nowMs;
  }

  /** Takes `cost`; false when there was not so much. */
  spend(cost: number, nowMs: number): boolean {
    if (nowMs > this.#atMs) {
      this.earn((nowMs - this.#atMs) * this.#perMs);
      this.#atMs = nowMs;
    }
    this.#left -= cost;
    return this.#left >= 0;
  }

  /** Something useful happened. */
  earn(tokens: number): void {
    this.#left = Math.min(this.#capacity, this.#left + tokens);
  }
}
