// Time, handed in. Tests hand in a fake; nothing else in core, model, api, proxy or control reads a
// clock of its own.

/** A clock. `now` never goes back; `wall` may. */
export interface Clock {
  /** Milliseconds since an arbitrary start, monotonic, with fractions. */
  now(): number;
  /** Milliseconds since the epoch. */
  wall(): number;
  /** Calls once after at least `ms`; the returned function cancels and is idempotent. */
  after(ms: number, fire: () => void): () => void;
}

/** Resolves after `ms`, or rejects with the signal's reason when it aborts first. */
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Exponential back-off with jitter: `minMs`, doubled per failure, up to `maxMs`, ± `jitter`. */
export class Backoff {
  readonly minMs: number;
  readonly maxMs: number;
  readonly jitter: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(minMs: number, maxMs: number, jitter: number, random: () => number) {
    this.minMs = minMs;
    this.maxMs = maxMs;
    this.jitter = jitter;
    this.#random = random;
  }

  /** Counts a failure and says how long to wait before the next try. */
  next(): number {
    const base = Math.min(this.maxMs, this.minMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return Math.max(0, base * (1 + this.jitter * (2 * this.#random() - 1)));
  }

  /** A success: start over. */
  reset(): void {
    this.#failures = 0;
  }
}
