// How loaded an endpoint is, and which of two to take. Pure arithmetic over a clock that is handed in.

/** Requests without a response head, of several endpoints together. */
export interface PendingCount {
  count: number;
}

/** Latencies below this count as this, so that a very fast endpoint does not draw all requests. */
const FLOOR_MS = 1;

/**
 * Peak EWMA: an exponentially weighted mean of latencies that rises to a worse one at once and falls
 * with time constant `decayMs`, also when nothing is measured. As Finagle's and tower's.
 */
export class PeakEwma {
  readonly #decayMs: number;
  #estimateMs: number;
  #updatedMs: number;
  #pending = 0;
  /** Counts what is pending at this endpoint and at others together. */
  readonly #together: PendingCount;

  constructor(
    defaultRttMs: number,
    decayMs: number,
    nowMs: number,
    together: PendingCount = { count: 0 },
  ) {
    this.#together = together;
    this.#estimateMs = defaultRttMs;
    this.#decayMs = decayMs;
    this.#updatedMs = nowMs;
  }

  /** Requests given to the endpoint that have no response head yet. */
  get pending(): number {
    return this.#pending;
  }

  set pending(n: number) {
    this.#together.count += n - this.#pending;
    this.#pending = n;
  }

  /** A response came after `rttMs`. */
  observe(rttMs: number, nowMs: number): void {
    const rtt = Math.max(FLOOR_MS, rttMs);
    if (rtt > this.#estimateMs) {
      this.#estimateMs = rtt;
    } else {
      const keep = Math.exp(-Math.max(0, nowMs - this.#updatedMs) / this.#decayMs);
      this.#estimateMs = this.#estimateMs * keep + rtt * (1 - keep);
    }
    this.#updatedMs = nowMs;
  }

  /** The estimate now, in milliseconds. */
  estimate(nowMs: number): number {
    const keep = Math.exp(-Math.max(0, nowMs - this.#updatedMs) / this.#decayMs);
    return Math.max(FLOOR_MS, this.#estimateMs * keep);
  }

  /** What the balancer compares: what a request more would wait for. */
  load(nowMs: number): number {
    return this.estimate(nowMs) * (this.pending + 1);
  }
}

/** Power of two choices: two different ones at random, the less loaded wins. `n` must be at least 1. */
export function pickP2c(n: number, load: (i: number) => number, random: () => number): number {
  if (n === 1) return 0;
  const a = Math.floor(random() * n);
  let b = Math.floor(random() * (n - 1));
  if (b >= a) b++;
  return load(a) <= load(b) ? a : b;
}
