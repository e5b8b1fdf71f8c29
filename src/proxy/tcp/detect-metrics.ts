// Outcome and time of protocol detection, under Linkerd's names. Connection rate; the cells of a
// port or target are made once.

import type { Labels } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** How detection ended. `server_first`: the upstream spoke while the client was silent. */
export type DetectResult =
  | "http/1"
  | "http/2"
  | "not_http"
  | "read_timeout"
  | "server_first"
  | "error";

/** Upper bounds in seconds. */
const SECONDS = [0.001, 0.01, 0.1, 0.5, 1, 5, 10];

/** Counts detections of one port or target. */
export class DetectSeries {
  readonly #metrics: ProxyMetrics;
  readonly #direction: "inbound" | "outbound";
  readonly #labels: Labels;

  constructor(metrics: ProxyMetrics, direction: "inbound" | "outbound", labels: Labels) {
    this.#metrics = metrics;
    this.#direction = direction;
    this.#labels = labels;
  }

  /** A connection's protocol was told, or not, after `ms`. */
  detected(result: DetectResult, ms: number): void {
    const { sheet } = this.#metrics;
    const total = sheet.family(
      `${this.#direction}_tcp_detect_http_results_total`,
      "counter",
      "Connections whose protocol was detected, by outcome",
    );
    const seconds = sheet.family(
      `${this.#direction}_tcp_detect_http_duration_seconds`,
      "histogram",
      "From a connection's begin to its protocol, in seconds",
      SECONDS,
    );
    sheet.add(sheet.cell(total, { ...this.#labels, result }), 1);
    sheet.observe(seconds, sheet.cell(seconds, this.#labels), ms / 1000);
  }
}
