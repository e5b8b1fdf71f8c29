// What a port's policy said to one kind of client on one route: allowed, denied, over a limit. Made at
// target rate; a request adds to cells that are known.

import { formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** What a local rate limit counts. */
export type LimitScope = "total" | "identity";

/** The series under one set of labels of target, server, client and route. */
export class AuthzSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #authz: Labels;
  readonly #limit: Labels;
  readonly #key: string;
  #group: SeriesGroup;
  #allowed = -1;

  /** `authz`: labels of the authorization that allows; `limit`: of the rate limit. */
  constructor(metrics: ProxyMetrics, labels: Labels, authz: Labels, limit: Labels) {
    this.#m = metrics;
    this.#labels = labels;
    this.#authz = authz;
    this.#limit = limit;
    this.#key = `authz ${formatLabels({ ...labels, ...authz, ...limit })}`;
    this.#group = metrics.sheet.group(this.#key);
  }

  allowed(): void {
    if (!this.#group.live) this.#renew();
    if (this.#allowed < 0) {
      this.#allowed = this.#group.cell(this.#m.authzAllow, { ...this.#labels, ...this.#authz });
    }
    this.#m.sheet.add(this.#allowed, 1);
  }

  denied(): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#group.cell(this.#m.authzDeny, this.#labels), 1);
  }

  /** Over the limit of all clients together, or of its own. */
  limited(scope: LimitScope): void {
    if (!this.#group.live) this.#renew();
    const labels = { ...this.#labels, ...this.#limit, ratelimit_scope: scope };
    this.#m.sheet.add(this.#group.cell(this.#m.localRateLimit, labels), 1);
  }

  #renew(): void {
    this.#group = this.#m.sheet.group(this.#key);
    this.#allowed = -1;
  }
}
