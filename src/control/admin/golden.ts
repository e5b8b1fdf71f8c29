// Golden metrics from the sums of cells: which family answers which question, and what is said when
// there is no answer. Pure; used by `view.ts`.

import type { Golden } from "../../api/admin.ts";
import { LATENCY_BOUNDS_MS, quantile } from "./quantile.ts";
import * as f from "./traffic.ts";
import type { CellSums } from "./window.ts";

const WIDTH = LATENCY_BOUNDS_MS.length + 1;

/**
 * Adds up cells of several proxies. Each is resolved by itself – one proxy may count routes, another
 * only responses – and each has its own span, so rates are added, not counts.
 */
export class Tally {
  rps = 0;
  connections = 0;
  readonly #effective = new Ratio();
  readonly #actual = new Ratio();
  readonly #tls = new Ratio();
  readonly #openTls = new Ratio();
  readonly #buckets = new Float64Array(WIDTH);

  add({ fields, spanMs }: CellSums): void {
    const requests = this.#effective.addFirst(
      fields,
      [f.EFFECTIVE_OK, f.EFFECTIVE_FAILED],
      [f.RESPONSE_OK, f.RESPONSE_FAILED],
    );
    this.#actual.addFirst(
      fields,
      [f.ACTUAL_OK, f.ACTUAL_FAILED],
      [f.RESPONSE_OK, f.RESPONSE_FAILED],
    );
    this.#tls.addFirst(fields, [f.RESPONSE_TLS, f.RESPONSE_PLAIN]);
    this.connections += this.#openTls.addFirst(fields, [f.OPEN_TLS, f.OPEN_PLAIN]);
    if (spanMs > 0) this.rps += requests / (spanMs / 1000);
    // As the caller waits where a route counts that, else per attempt.
    const route = (fields[f.ROUTE_BUCKETS + WIDTH - 1] ?? 0) > 0;
    const first = route ? f.ROUTE_BUCKETS : f.BUCKETS;
    for (let i = 0; i < WIDTH; i++) (this.#buckets[i] as number) += fields[first + i] ?? 0;
  }

  get requests(): number {
    return this.#effective.total;
  }

  golden(): Golden {
    return {
      rps: this.rps,
      successRate: this.#effective.share,
      actualSuccessRate: this.#actual.share,
      p50Ms: this.latency(0.5),
      p95Ms: this.latency(0.95),
      p99Ms: this.latency(0.99),
    };
  }

  latency(q: number): number | null {
    return quantile(q, this.#buckets);
  }

  get successRate(): number | null {
    return this.#effective.share;
  }

  /** Share of mutual TLS, of requests, or of open connections where there were no requests. */
  get mtls(): number | null {
    return this.#tls.share ?? this.#openTls.share;
  }
}

class Ratio {
  #good = 0;
  total = 0;

  /** Adds the first pair of fields that counted anything; returns how much that was. */
  addFirst(fields: Float64Array, ...pairs: readonly (readonly [good: number, bad: number])[]) {
    for (const [good, bad] of pairs) {
      const total = (fields[good] ?? 0) + (fields[bad] ?? 0);
      if (total === 0) continue;
      this.#good += fields[good] ?? 0;
      this.total += total;
      return total;
    }
    return 0;
  }

  get share(): number | null {
    return this.total > 0 ? this.#good / this.total : null;
  }
}
