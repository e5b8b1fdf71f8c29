// What became of the keys of one destination's requests, counted. Its cells are made at target rate.

import type { ProxyMetrics } from "../metrics.ts";

/**
 * `owner`: the attempt went to the key's own endpoint; `moved`: along the ring, since that one was
 * ejected, away or over its bound, or since an earlier attempt failed there; `given`: the client had no
 * cookie and got one; `none`: the request had no key and went where load was least.
 */
export type HashOutcome = "owner" | "moved" | "given" | "none";

/** `outbound_http_balancer_hash_total` of one destination. */
export class HashSeries {
  readonly #metrics: ProxyMetrics;
  readonly #cells: Readonly<Record<HashOutcome, number>>;

  constructor(metrics: ProxyMetrics, dst: string) {
    const cell = (outcome: HashOutcome) =>
      metrics.sheet.cell(metrics.balancerHash, { dst, outcome });
    this.#metrics = metrics;
    this.#cells = {
      owner: cell("owner"),
      moved: cell("moved"),
      given: cell("given"),
      none: cell("none"),
    };
  }

  add(outcome: HashOutcome): void {
    this.#metrics.sheet.add(this.#cells[outcome], 1);
  }
}
