// The `route_*` families of one route of a destination: what the client sees, and each attempt.
// Made at target rate; a request adds to cells that are known.

import type { Head } from "../../core/head.ts";
import { formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import { LATENCY_MS, type ProxyMetrics } from "../metrics.ts";
import { ExemplarGate } from "./exemplars.ts";
import { classification, statusLabel } from "./requests.ts";

/** One route's series: effective and per attempt. */
export class RouteSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #hasAttempts: boolean;
  readonly #key: string;
  #group: SeriesGroup;
  #request = -1;
  #latency = -1;
  #actualRequest = -1;
  readonly #responses: readonly Int32Array[] = [new Int32Array(2000), new Int32Array(2000)];
  readonly #exemplars = new ExemplarGate(LATENCY_MS.length + 1);

  /** `hasAttempts` false: of the inbound side, which makes none. */
  constructor(metrics: ProxyMetrics, labels: Labels, hasAttempts = true) {
    this.#m = metrics;
    this.#labels = labels;
    this.#hasAttempts = hasAttempts;
    this.#key = `route ${formatLabels(labels)}`;
    this.#group = metrics.sheet.group(this.#key);
    this.#renew();
  }

  #renew(): void {
    const m = this.#m;
    this.#group = m.sheet.group(this.#key);
    this.#request = this.#group.cell(m.routeRequest, this.#labels);
    this.#latency = this.#group.cell(m.routeLatency, this.#labels);
    if (this.#hasAttempts) {
      this.#actualRequest = this.#group.cell(m.routeActualRequest, this.#labels);
    }
    for (const cells of this.#responses) cells.fill(-1);
  }

  started(): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#request, 1);
  }

  /** With `head` and the driver's clock the request may become an exemplar. */
  ended(status: number, failed: boolean, ms: number, head: Head | null = null, nowMs = 0): void {
    const { sheet, routeLatency } = this.#m;
    sheet.add(this.#cell(0, status, failed), 1);
    const whole = Math.floor(ms);
    const bucket = sheet.observe(routeLatency, this.#latency, whole);
    if (head === null) return;
    this.#exemplars.observed(this.#m, this.#latency, bucket, whole, head, nowMs);
  }

  attempt(): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#actualRequest, 1);
  }

  attempted(status: number, failed: boolean): void {
    this.#m.sheet.add(this.#cell(1, status, failed), 1);
  }

  /** A retry that a filter wanted: made, or skipped with a reason. */
  retry(skipped: string): void {
    if (!this.#group.live) this.#renew();
    const labels = skipped === "" ? this.#labels : { ...this.#labels, skipped };
    this.#m.sheet.add(this.#group.cell(this.#m.routeRetryable, labels), 1);
  }

  #cell(actual: 0 | 1, status: number, failed: boolean): number {
    if (!this.#group.live) this.#renew();
    const cells = this.#responses[actual] as Int32Array;
    const key = status * 2 + (failed ? 1 : 0);
    let cell = cells[key] as number;
    if (cell < 0) {
      cell = this.#group.cell(
        actual === 0 ? this.#m.routeResponse : this.#m.routeActualResponse,
        {
          ...this.#labels,
          status_code: statusLabel(status),
          classification: classification(failed),
        },
      );
      cells[key] = cell;
    }
    return cell;
  }
}
