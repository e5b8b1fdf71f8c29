// The registry families of one backend of an outbound route (`outbound_http_route_backend_…`): each attempt
// that it gets. Made at target rate; attempts and frames add to cells that are known.

import { type Family, formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";
import type { StreamError } from "./errors.ts";
import {
  CellsBy,
  FRAME_BYTES,
  grpcCode,
  MORE_SECONDS,
  outcomeLabels,
  streamFamily,
} from "./streams.ts";

const STATUSES = 1000;

/** One backend's series, for one route. */
export class BackendSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #isGrpc: boolean;
  readonly #key: string;
  readonly #requests: Family;
  readonly #statuses: Family;
  readonly #seconds: Family;
  readonly #frames: Family;
  readonly #cells: CellsBy;
  #group: SeriesGroup;
  #request = -1;
  #time = -1;
  #frame = -1;

  /** `labels`: `parent_…`, `route_…` and `backend_…`. */
  constructor(metrics: ProxyMetrics, labels: Labels, isGrpc: boolean) {
    const { sheet } = metrics;
    const what = isGrpc ? "gRPC" : "HTTP";
    const family = (name: string, type: Family["type"], help: string, bounds?: readonly number[]) =>
      streamFamily(sheet, "outbound", isGrpc, `route_backend_${name}`, type, help, bounds);
    this.#m = metrics;
    this.#labels = labels;
    this.#isGrpc = isGrpc;
    this.#requests = family("requests_total", "counter", `${what} requests sent to a backend`);
    this.#statuses = family(
      "response_statuses_total",
      "counter",
      `Ended ${what} requests of a backend by status and error`,
    );
    this.#seconds = family(
      "response_duration_seconds",
      "histogram",
      "From a request's end to the end of the backend's response",
      MORE_SECONDS,
    );
    this.#frames = family(
      "response_frame_size_bytes",
      "histogram",
      "Pieces of response bodies as they passed",
      FRAME_BYTES,
    );
    this.#key = `backend ${isGrpc} ${formatLabels(labels)}`;
    this.#cells = new CellsBy(STATUSES, (code) => this.#cell(code, ""));
    this.#group = sheet.group(this.#key);
    this.#renew();
  }

  #renew(): void {
    this.#group = this.#m.sheet.group(this.#key);
    this.#request = this.#group.cell(this.#requests, this.#labels);
    this.#time = this.#group.cell(this.#seconds, this.#labels);
    this.#frame = this.#group.cell(this.#frames, this.#labels);
    this.#cells.forget();
  }

  #cell(code: number, error: StreamError): number {
    const labels = { ...this.#labels, ...outcomeLabels(this.#isGrpc, code, error) };
    return this.#group.cell(this.#statuses, labels);
  }

  started(): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#request, 1);
  }

  responseFrame(bytes: number): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.observe(this.#frames, this.#frame, bytes);
  }

  /** An attempt is over. `status` 0: no response; `responseMs` since the request's end, or negative. */
  ended(status: number, grpcStatus: number, error: StreamError, responseMs: number): void {
    if (!this.#group.live) this.#renew();
    const { sheet } = this.#m;
    const code = this.#isGrpc ? grpcCode(grpcStatus) : status;
    sheet.add(error === "" ? this.#cells.at(code) : this.#cell(code, error), 1);
    if (responseMs >= 0) sheet.observe(this.#seconds, this.#time, responseMs / 1000);
  }
}
