// Quantiles from histogram buckets, as Prometheus' `histogram_quantile` computes them, so that the
// page and a Grafana board say the same.

/** Upper bounds of `response_latency_ms`; +Inf follows. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  ...[1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500],
  ...[1000, 2000, 3000, 4000, 5000, 10000, 20000, 30000, 40000, 50000],
];

/**
 * The value under which `q` of the observations lie, interpolated inside its bucket.
 *
 * `cumulative` has one count per bound and then the one of +Inf. Null: nothing was observed. An
 * answer in the last bucket is the largest bound, since nothing more is known of it.
 */
export function quantile(
  q: number,
  cumulative: ArrayLike<number>,
  bounds: readonly number[] = LATENCY_BOUNDS_MS,
): number | null {
  const total = cumulative[bounds.length] ?? 0;
  if (!(total > 0)) return null;
  const rank = q * total;
  for (const [i, upper] of bounds.entries()) {
    const upTo = cumulative[i] ?? 0;
    if (upTo < rank) continue;
    const before = i === 0 ? 0 : cumulative[i - 1] ?? 0;
    const lower = i === 0 ? 0 : bounds[i - 1] ?? 0;
    return upTo > before ? lower + ((upper - lower) * (rank - before)) / (upTo - before) : upper;
  }
  return bounds[bounds.length - 1] ?? null;
}
