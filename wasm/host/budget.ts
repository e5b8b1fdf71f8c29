// A filter's share of the thread's time: a token bucket in nanoseconds, so that a filter which stays
// just under its fuel on every call cannot starve the others. No clock is read per call: the module
// counts its fuel down itself, and what an instruction takes is learnt from the calls that are timed.

/** Share of the thread's time unless configured. */
export const DEFAULT_CPU_PERCENT = 5;
/** What a filter that was idle may use at once. */
export const BURST_MS = 20;
/** A filter that is over its budget rests until it has this much again. */
const RESUME_NS = 2e6;
/** Calls that the price of an instruction is learnt from; the median counts. */
const PRICES = 15;
/** Until half of them are known: the first calls, which compile, say little. */
const FIRST_PRICE_NS = 1;
const MIN_PRICE_NS = 0.25;
const MAX_PRICE_NS = 200;
const MAX_GRANT = 1 << 30;

/** The budget of one filter in one thread. */
export class CpuBudget {
  /** Nanoseconds for each millisecond that passes; Infinity: no limit. */
  readonly #rate: number;
  readonly #prices = new Float64Array(PRICES).fill(FIRST_PRICE_NS);
  #samples = 0;
  #tokensNs = BURST_MS * 1e6;
  #atMs: number;

  constructor(percent: number, nowMs: number) {
    this.#rate = percent >= 100 ? Infinity : percent * 1e4;
    this.#atMs = nowMs;
  }

  /** Nanoseconds of one unit of fuel, host functions included. */
  get priceNs(): number {
    return this.#prices.slice().sort()[PRICES >> 1] as number;
  }

  /** A timed call; a clock that stood still says nothing. */
  observe(ns: number, fuel: number): void {
    if (ns <= 0 || fuel <= 0) return;
    const price = Math.min(MAX_PRICE_NS, Math.max(MIN_PRICE_NS, ns / fuel));
    this.#prices[this.#samples++ % PRICES] = price;
  }

  /** Takes what was used, adds what time has brought. */
  settle(fuel: number, extraNs: number, nowMs: number): void {
    const earned = this.#rate === Infinity ? Infinity : (nowMs - this.#atMs) * this.#rate;
    this.#atMs = nowMs;
    const left = this.#tokensNs - fuel * this.priceNs - extraNs;
    this.#tokensNs = Math.min(BURST_MS * 1e6, left + Math.max(0, earned));
  }

  /** Fuel until it is looked at again; 0: over budget. */
  get grant(): number {
    if (this.#tokensNs <= 0) return 0;
    return Math.max(1, Math.min(MAX_GRANT, Math.floor(this.#tokensNs / this.priceNs)));
  }

  /** When a filter that is over its budget goes on. */
  get resumeAtMs(): number {
    return this.#atMs + Math.max(0, RESUME_NS - this.#tokensNs) / this.#rate;
  }
}

/**
 * What it takes to look at the clock and once more, in nanoseconds: the least of some tries, so that
 * a thread that was held up meanwhile does not count.
 */
export function clockCost(now: () => number): number {
  let least = Infinity;
  for (let i = 0; i < 200; i++) {
    const startedMs = now();
    least = Math.min(least, now() - startedMs);
  }
  return Math.max(0, least * 1e6);
}
