// What the load remembers of its requests: counts, latencies, and for each swap of a filter the
// requests that were under way while it happened.

/** Totals, as told to the parent. Latencies in milliseconds, of answered requests. */
export interface LoadSummary {
  readonly requests: number;
  readonly failed: number;
  readonly inFlight: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

/** What happened to the requests that crossed a swap. */
export interface SwapSummary {
  readonly id: string;
  readonly crossed: number;
  readonly failed: number;
}

/** A request under way. */
export interface Seen {
  readonly startedMs: number;
  readonly swaps: Set<OpenSwap>;
}

interface OpenSwap {
  readonly id: string;
  crossed: number;
  failed: number;
  pending: number;
  ended: (() => void) | null;
}

/** Four steps for each doubling, from 0.1 ms to 27 minutes: within 9 % of the truth in 96 counters. */
const STEPS = 96;
const FIRST_MS = 0.1;

/** One writer; the clock is handed in. */
export class LoadRecord {
  readonly #now: () => number;
  readonly #buckets = new Float64Array(STEPS);
  readonly #underWay = new Set<Seen>();
  readonly #swaps = new Map<string, OpenSwap>();
  #requests = 0;
  #failed = 0;
  #whenIdle: (() => void)[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  get inFlight(): number {
    return this.#underWay.size;
  }

  begin(): Seen {
    const seen = { startedMs: this.#now(), swaps: new Set<OpenSwap>() };
    this.#requests++;
    this.#underWay.add(seen);
    for (const swap of this.#swaps.values()) this.#cross(seen, swap);
    return seen;
  }

  /** `failure` is empty for success. Returns it. */
  end(seen: Seen, failure: string): string {
    this.#underWay.delete(seen);
    if (failure === "") this.#count(this.#now() - seen.startedMs);
    else this.#failed++;
    for (const swap of seen.swaps) {
      if (failure !== "") swap.failed++;
      swap.pending--;
      if (swap.pending === 0) swap.ended?.();
    }
    if (this.#underWay.size === 0) {
      for (const idle of this.#whenIdle.splice(0)) idle();
    }
    return failure;
  }

  /** A request that was due and not sent. Returns the reason. */
  refuse(why: string): string {
    return this.end(this.begin(), why);
  }

  /** From now until `endSwap`, every request that is under way crosses this swap. */
  beginSwap(id: string): void {
    const swap: OpenSwap = { id, crossed: 0, failed: 0, pending: 0, ended: null };
    this.#swaps.set(id, swap);
    for (const seen of this.#underWay) this.#cross(seen, swap);
  }

  /** Resolves when every request that crossed the swap has ended. */
  async endSwap(id: string): Promise<SwapSummary> {
    const swap = this.#swaps.get(id);
    if (swap === undefined) return { id, crossed: 0, failed: 0 };
    this.#swaps.delete(id);
    if (swap.pending > 0) await new Promise<void>((resolve) => (swap.ended = resolve));
    return { id, crossed: swap.crossed, failed: swap.failed };
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    if (this.#underWay.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  summary(): LoadSummary {
    return {
      requests: this.#requests,
      failed: this.#failed,
      inFlight: this.inFlight,
      p50Ms: this.#percentile(0.5),
      p95Ms: this.#percentile(0.95),
      p99Ms: this.#percentile(0.99),
    };
  }

  #count(ms: number): void {
    const step = stepOf(ms);
    this.#buckets[step] = (this.#buckets[step] ?? 0) + 1;
  }

  #cross(seen: Seen, swap: OpenSwap): void {
    seen.swaps.add(swap);
    swap.crossed++;
    swap.pending++;
  }

  #percentile(share: number): number {
    const total = this.#buckets.reduce((sum, n) => sum + n, 0);
    let left = total * share;
    for (let step = 0; step < STEPS && total > 0; step++) {
      left -= this.#buckets[step] ?? 0;
      if (left <= 0) return round(FIRST_MS * 2 ** ((step + 0.5) / 4));
    }
    return 0;
  }
}

function stepOf(ms: number): number {
  return Math.max(
    0,
    Math.min(STEPS - 1, Math.floor(4 * Math.log2(Math.max(ms, FIRST_MS) / FIRST_MS))),
  );
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
