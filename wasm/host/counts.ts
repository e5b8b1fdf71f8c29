// What is counted about a filter, for all its instances: calls, traps, and the time of sampled calls.

/** Timed calls that the median is taken of. */
const SAMPLES_KEPT = 64;

/** Counted for all instances of one filter and module. */
export interface UnitCounts {
  calls: number;
  /** The newest timed calls, in nanoseconds; a ring. */
  readonly sampledNs: Float64Array;
  /** Calls that were timed, ever. */
  samples: number;
  traps: number;
  fuelExhausted: number;
  overBudget: number;
  lastError: string;
}

export function createCounts(): UnitCounts {
  return {
    calls: 0,
    sampledNs: new Float64Array(SAMPLES_KEPT),
    samples: 0,
    traps: 0,
    fuelExhausted: 0,
    overBudget: 0,
    lastError: "",
  };
}

/** Adds a timed call. */
export function addSample(counts: UnitCounts, ns: number): void {
  counts.sampledNs[counts.samples++ % SAMPLES_KEPT] = ns;
}

/** The median of the newest timed calls: the first ones, which compile, and pauses do not move it. */
export function nsPerCall(counts: UnitCounts): number {
  const known = counts.sampledNs.slice(0, Math.min(counts.samples, SAMPLES_KEPT)).sort();
  return known.length === 0 ? 0 : known[known.length >> 1] as number;
}
