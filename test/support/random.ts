// Seeded randomness for property tests and fuzzing: the same seed gives the same run on both
// runtimes, and a failing run prints its seed.

/** A generator of numbers in [0, 1), as `Math.random`, with helpers for tests. */
export interface Random {
  (): number;
  readonly seed: number;
  /** An integer in [min, max], both included. */
  int(min: number, max: number): number;
  /** One of the items; they must not be empty. */
  pick<T>(items: readonly T[]): T;
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
  /** Cuts `whole` into random pieces of at most `maxBytes`, none empty. */
  pieces(whole: Uint8Array, maxBytes: number): Uint8Array[];
}

/** mulberry32: small, fast, good enough for tests; never for secrets. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const int = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return Object.assign(next, {
    seed,
    int,
    pick<T>(items: readonly T[]): T {
      if (items.length === 0) throw new Error("pick() needs at least one item");
      return items[int(0, items.length - 1)] as T;
    },
    bytes: (length: number) => Uint8Array.from({ length }, () => int(0, 255)),
    pieces(whole: Uint8Array, maxBytes: number): Uint8Array[] {
      const out: Uint8Array[] = [];
      for (let at = 0; at < whole.length;) {
        const size = Math.min(int(1, maxBytes), whole.length - at);
        out.push(whole.slice(at, at + size));
        at += size;
      }
      return out;
    },
  });
}

/**
 * The seed of a fuzz run: `TULLE_TEST_SEED` when it is set, else a fresh one. Printed, so that a
 * failure can be run again.
 */
export function fuzzSeed(what: string): number {
  const given = process.env.TULLE_TEST_SEED;
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given) >>> 0;
  console.log(`${what}: TULLE_TEST_SEED=${seed}`);
  return seed;
}
