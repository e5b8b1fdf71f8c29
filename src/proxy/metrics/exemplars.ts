// Which requests stand for the buckets of a histogram: one a second and bucket, of those that carry a
// trace. All others cost one comparison.

import { type Head, headerName } from "../../core/head.ts";
import type { ProxyMetrics } from "../metrics.ts";

const TRACEPARENT = headerName("traceparent");
const B3 = headerName("b3");
const B3_TRACE_ID = headerName("x-b3-traceid");

/** A bucket's exemplar is looked for this often. */
const EVERY_MS = 1_000;

/** The exemplars of one histogram of one holder of series. */
export class ExemplarGate {
  /** When each bucket's next may be taken, by the driver's clock. */
  readonly #nextMs: Float64Array;

  constructor(buckets: number) {
    this.#nextMs = new Float64Array(buckets);
  }

  /** A request was observed in a bucket of the histogram at `cell`. */
  observed(
    m: ProxyMetrics,
    cell: number,
    bucket: number,
    value: number,
    head: Head,
    nowMs: number,
  ): void {
    if (nowMs < (this.#nextMs[bucket] as number)) return;
    this.#nextMs[bucket] = nowMs + EVERY_MS;
    const traceId = traceIdOf(head);
    if (traceId !== "") m.sheet.exemplify(cell, bucket, { traceId, value, wallMs: m.wall() });
  }
}

/**
 * The trace that a request belongs to: W3C `traceparent` (`00-<32 hex>-<16 hex>-<flags>`), or B3 in one
 * header or several (16 or 32 hex digits). Empty: none, or what is no such id, which a label must not be.
 */
export function traceIdOf(head: Head): string {
  const w3c = /^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}/.exec(head.get(TRACEPARENT) ?? "");
  const id = w3c?.[1] ?? /^([\da-f]{32}|[\da-f]{16})(?:-|$)/i
    .exec(head.get(B3) ?? head.get(B3_TRACE_ID) ?? "")?.[1] ??
    "";
  return /^0*$/.test(id) ? "" : id.toLowerCase();
}
