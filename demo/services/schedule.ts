// Which requests of a replica fail: the same ones in each run with the same seed.

/**
 * Says for each request in turn whether it fails: `percent` of them, one per block of `100/percent`,
 * at a place that the seed decides. Two failures are at least half a block apart, so that a caller
 * that asks again is served whichever replica it asks.
 */
export function failureSchedule(percent: number, seed: number): () => boolean {
  if (percent <= 0) return () => false;
  const block = Math.max(2, Math.round(100 / percent));
  let state = seed >>> 0;
  let at = 0;
  let failing = 0;
  return () => {
    if (at === 0) {
      // a linear congruential generator (Numerical Recipes): short, and the same everywhere
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      failing = Math.floor((state / 2 ** 32) * (block / 2));
    }
    const now = at === failing;
    at = (at + 1) % block;
    return now;
  };
}
