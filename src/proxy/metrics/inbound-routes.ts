// The registry families of one inbound route (`inbound_http_…`, `inbound_grpc_…`). Made at target rate;
// requests and frames add to cells that are known.

import type { Head } from "../../core/head.ts";
import { type Family, formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { ExemplarGate } from "./exemplars.ts";
import {
  CellsBy,
  FEW_SECONDS,
  FRAME_BYTES,
  grpcCode,
  MORE_SECONDS,
  streamFamily,
} from "./streams.ts";

/** Statuses that may be counted; a status is at most 999. */
const STATUSES = 1000;

/** One route's series. */
export class InboundRouteSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #key: string;
  readonly #isGrpc: boolean;
  readonly #requests: Family;
  readonly #requestSeconds: Family;
  readonly #responseSeconds: Family;
  readonly #requestFrames: Family;
  readonly #responseFrames: Family;
  readonly #statuses: CellsBy;
  readonly #exemplars = new ExemplarGate(MORE_SECONDS.length + 1);
  #group: SeriesGroup;
  #request = -1;
  #requestTime = -1;
  #responseTime = -1;
  #requestFrame = -1;
  #responseFrame = -1;

  /** `labels`: `parent_…` and `route_…`. */
  constructor(metrics: ProxyMetrics, labels: Labels, isGrpc: boolean) {
    const { sheet } = metrics;
    const what = isGrpc ? "gRPC" : "HTTP";
    const family = (name: string, type: Family["type"], help: string, bounds?: readonly number[]) =>
      streamFamily(sheet, "inbound", isGrpc, name, type, help, bounds);
    this.#m = metrics;
    this.#labels = labels;
    this.#isGrpc = isGrpc;
    this.#key = `inbound ${isGrpc} ${formatLabels(labels)}`;
    this.#requests = family("requests_total", "counter", `${what} requests to a route`);
    this.#requestSeconds = family(
      "request_duration_seconds",
      "histogram",
      "From a request's begin to the end of its response",
      MORE_SECONDS,
    );
    this.#responseSeconds = family(
      "response_duration_seconds",
      "histogram",
      "From a request's end to the end of its response",
      FEW_SECONDS,
    );
    this.#requestFrames = family(
      "request_frame_size_bytes",
      "histogram",
      "Pieces of request bodies as they passed",
      FRAME_BYTES,
    );
    this.#responseFrames = family(
      "response_frame_size_bytes",
      "histogram",
      "Pieces of response bodies as they passed",
      FRAME_BYTES,
    );
    const statuses = family("statuses_total", "counter", `Ended ${what} requests by status`);
    this.#statuses = new CellsBy(STATUSES, (status) =>
      this.#group.cell(statuses, {
        ...labels,
        status: status === 0 && !isGrpc ? "" : String(status),
      }));
    this.#group = sheet.group(this.#key);
    this.#renew();
  }

  #renew(): void {
    const group = this.#m.sheet.group(this.#key);
    this.#group = group;
    this.#request = group.cell(this.#requests, this.#labels);
    this.#requestTime = group.cell(this.#requestSeconds, this.#labels);
    this.#responseTime = group.cell(this.#responseSeconds, this.#labels);
    this.#requestFrame = group.cell(this.#requestFrames, this.#labels);
    this.#responseFrame = group.cell(this.#responseFrames, this.#labels);
    this.#statuses.forget();
  }

  started(): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#request, 1);
  }

  requestFrame(bytes: number): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.observe(this.#requestFrames, this.#requestFrame, bytes);
  }

  responseFrame(bytes: number): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.observe(this.#responseFrames, this.#responseFrame, bytes);
  }

  /**
   * The exchange is over. `responseMs` is since the request's end, or negative when it never ended;
   * `grpcStatus` -1: there was none.
   */
  ended(
    status: number,
    grpcStatus: number,
    ms: number,
    responseMs: number,
    head: Head,
    nowMs: number,
  ): void {
    if (!this.#group.live) this.#renew();
    const { sheet } = this.#m;
    sheet.add(this.#statuses.at(this.#isGrpc ? grpcCode(grpcStatus) : status), 1);
    const seconds = ms / 1000;
    const bucket = sheet.observe(this.#requestSeconds, this.#requestTime, seconds);
    if (responseMs >= 0) {
      sheet.observe(this.#responseSeconds, this.#responseTime, responseMs / 1000);
    }
    this.#exemplars.observed(this.#m, this.#requestTime, bucket, seconds, head, nowMs);
  }
}
