// `request_total`, `response_total` and `response_latency_ms` of one target or one kind of client.
// Made at target rate; a request adds to cells that are known.

import type { Head } from "../../core/head.ts";
import { formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import { LATENCY_MS, type ProxyMetrics } from "../metrics.ts";
import { ExemplarGate } from "./exemplars.ts";

/** What the exposition calls success and failure. */
export function classification(failed: boolean): string {
  return failed ? "failure" : "success";
}

/** A status as a label: what was never sent has none. */
export function statusLabel(status: number): string {
  return status === 0 ? "" : String(status);
}

/** The three families under one set of labels. Target rate. */
export class RequestSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #key: string;
  #group: SeriesGroup;
  #request = -1;
  /** Cells by `status * 2 + failed`; -1 until such a response was seen. */
  readonly #response = new Int32Array(2000);
  readonly #latency = new Int32Array(1000);
  /** The same for gRPC calls that had a status of 200, by `code * 2 + failed`. */
  #grpc: Int32Array | null = null;
  #exemplars: ExemplarGate | null = null;

  constructor(metrics: ProxyMetrics, labels: Labels) {
    this.#m = metrics;
    this.#labels = labels;
    this.#key = `request ${formatLabels(labels)}`;
    this.#group = metrics.sheet.group(this.#key);
    this.#renew();
  }

  /** The old cells are gone with their group. */
  #renew(): void {
    this.#group = this.#m.sheet.group(this.#key);
    this.#request = this.#group.cell(this.#m.request, this.#labels);
    this.#response.fill(-1);
    this.#latency.fill(-1);
    this.#grpc?.fill(-1);
  }

  started(): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#request, 1);
  }

  /**
   * `error` is for responses that ended in one; the status is what was sent or received, 0 for none.
   * `grpcStatus`: of a gRPC call; -1: it was none. With `head` and the driver's clock the request may
   * become an exemplar.
   */
  ended(
    status: number,
    failed: boolean,
    ms: number,
    error = "",
    grpcStatus = -1,
    head: Head | null = null,
    nowMs = 0,
  ): void {
    if (!this.#group.live) this.#renew();
    const { sheet, latency: family } = this.#m;
    const isGrpc = grpcStatus >= 0 && status === 200;
    // what is no code of gRPC counts as UNKNOWN: a peer must not make labels
    const code = grpcStatus > 16 ? 2 : grpcStatus;
    const cells = isGrpc ? this.#grpc ??= new Int32Array(34).fill(-1) : this.#response;
    const key = (isGrpc ? code : status) * 2 + (failed ? 1 : 0);
    let cell = cells[key] as number;
    if (cell < 0 || error !== "") {
      cell = this.#group.cell(this.#m.response, {
        ...this.#labels,
        status_code: statusLabel(status),
        classification: classification(failed),
        grpc_status: isGrpc ? String(code) : "",
        error,
      });
      if (error === "") cells[key] = cell;
    }
    sheet.add(cell, 1);
    let latency = this.#latency[status] as number;
    if (latency < 0) {
      latency = this.#group.cell(family, { ...this.#labels, status_code: statusLabel(status) });
      this.#latency[status] = latency;
    }
    const whole = Math.floor(ms);
    const bucket = sheet.observe(family, latency, whole);
    if (head === null) return;
    this.#exemplars ??= new ExemplarGate(LATENCY_MS.length + 1);
    this.#exemplars.observed(this.#m, latency, bucket, whole, head, nowMs);
  }
}
