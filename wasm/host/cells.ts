// State that is one per proxy, whatever thread and instance asks: token buckets and counters in shared
// memory, taken atomically, in tables that are bounded. Threads share the memory, nothing is locked.

import type { Clock } from "../../src/core/clock.ts";

/** Keys of each kind that are known at once. */
const BUCKETS = 4096;
const COUNTERS = 1024;
/** Places that one key may lie in. */
const WINDOW = 16;
/** A cell: its key, its value. */
const WIDTH = 2;
/** The seed, then the keys that were forgotten, then buckets, then counters. */
const HEADER = 2;
const SEED = 0;
const FORGOTTEN = 1;
const FREE = 0n;

/** Bytes of shared memory for one proxy. */
export const CELLS_BYTES = (HEADER + (BUCKETS + COUNTERS) * WIDTH) * 8;

/** One thread's view of the proxy's cells. */
export class HostCells {
  readonly #cells: BigInt64Array;
  readonly #clock: Pick<Clock, "wall">;

  /** `memory` has `CELLS_BYTES`, zero at first. `clock.wall` is the same in all threads. */
  constructor(memory: SharedArrayBuffer, clock: Pick<Clock, "wall">, seed: number) {
    this.#cells = new BigInt64Array(memory, 0, CELLS_BYTES / 8);
    this.#clock = clock;
    // the first thread's seed counts: who knows the table cannot know where a key will lie
    Atomics.compareExchange(this.#cells, SEED, FREE, BigInt(Math.floor(seed * 2 ** 52) + 1));
  }

  /** Keys whose state was given up for others. */
  get forgotten(): number {
    return Number(Atomics.load(this.#cells, FORGOTTEN));
  }

  /**
   * Takes `cost` from the bucket of `key`, which fills with `rate` a second up to `burst`; false:
   * there is not enough, nothing was taken. The bucket is a time: when it will be full (GCRA).
   */
  take(key: string, rate: number, burst: number, cost: number): boolean {
    const now = BigInt(Math.round(this.#clock.wall() * 1000));
    const perToken = 1e6 / rate;
    const costUs = BigInt(Math.max(1, Math.round(cost * perToken)));
    const burstUs = BigInt(Math.round(burst * perToken));
    const at = this.#find(key, HEADER, BUCKETS, now);
    for (;;) {
      const full = Atomics.load(this.#cells, at + 1);
      // further ahead than an empty bucket: the clock went back, or the burst was made smaller
      const isPast = full > now + burstUs;
      const from = isPast ? now + burstUs : full > now ? full : now;
      const fits = from + costUs <= now + burstUs;
      if (!fits && !isPast) return false;
      const next = fits ? from + costUs : from;
      if (Atomics.compareExchange(this.#cells, at + 1, full, next) === full) return fits;
    }
  }

  /** Adds to the counter of `key` and answers the sum; NaN: there is no room for another key. */
  add(key: string, by: number): number {
    const at = this.#find(key, HEADER + BUCKETS * WIDTH, COUNTERS, null);
    if (at < 0) return NaN;
    const delta = BigInt(Math.trunc(by));
    return Number(Atomics.add(this.#cells, at + 1, delta) + delta);
  }

  /** The cell of a key; -1 when none is free and none may be given up (`now` null). */
  #find(key: string, base: number, count: number, now: bigint | null): number {
    const cells = this.#cells;
    const id = this.#hash(key);
    const first = Number(BigInt.asUintN(32, id)) % count;
    for (;;) {
      let free = -1;
      let oldest = -1;
      let oldestFull = 0n;
      for (let i = 0; i < WINDOW; i++) {
        const at = base + ((first + i) % count) * WIDTH;
        const known = Atomics.load(cells, at);
        if (known === id) return at;
        if (known === FREE) {
          free = at;
          break; // cells are never freed: the key lies before the first free one or nowhere
        }
        const full = Atomics.load(cells, at + 1);
        if (oldest < 0 || full < oldestFull) {
          oldest = at;
          oldestFull = full;
        }
      }
      const at = free >= 0 ? free : now === null ? -1 : oldest;
      if (at < 0) return -1;
      const before = free >= 0 ? FREE : Atomics.load(cells, at);
      // the one that is full first has the least to remember
      if (Atomics.compareExchange(cells, at, before, id) !== before) continue;
      if (free < 0) {
        Atomics.store(cells, at + 1, 0n);
        Atomics.add(cells, FORGOTTEN, 1n);
      }
      return at;
    }
  }

  /** 64 bits that depend on the proxy's seed; never 0. */
  #hash(key: string): bigint {
    const seed = Number(BigInt.asUintN(32, Atomics.load(this.#cells, SEED)));
    let a = seed ^ 0x9e3779b9;
    let b = Math.imul(seed, 0x85ebca6b) ^ 0x51ed270b;
    for (let i = 0; i < key.length; i++) {
      const c = key.charCodeAt(i);
      a = Math.imul(a ^ c, 0x01000193) ^ (b >>> 15);
      b = Math.imul(b + c, 0xc2b2ae35) ^ (a >>> 13);
    }
    a = Math.imul(a ^ (a >>> 16) ^ b, 0x85ebca6b);
    b = Math.imul(b ^ (b >>> 13) ^ a, 0xc2b2ae35);
    const id = (BigInt(b ^ (b >>> 16)) << 32n) | BigInt((a ^ (a >>> 13)) >>> 0);
    return BigInt.asIntN(64, id) === FREE ? 1n : BigInt.asIntN(64, id);
  }
}
