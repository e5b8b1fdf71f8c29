// Outcome and time of protocol detection, and what connections turned out to be, under Linkerd's names.
// Connection rate; who counts for a port or target is made once and found again by its labels.

import { type Family, formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** How detection ended. `server_first`: the upstream spoke while the client was silent. */
export type DetectResult =
  | "http/1"
  | "http/2"
  | "not_http"
  | "read_timeout"
  | "server_first"
  | "error";

/** What is known, or found out, of a connection before its bytes are looked at. */
export type KnownProtocol = "http/1" | "http/2" | "detect" | "opaq" | "tls";

/** Upper bounds in seconds. */
const SECONDS = [0.001, 0.01, 0.1, 0.5, 1, 5, 10];

/** Counts detections of one port or target. */
export class DetectSeries {
  readonly #metrics: ProxyMetrics;
  readonly #labels: Labels;
  readonly #key: string;
  readonly #total: Family;
  readonly #seconds: Family;
  #group: SeriesGroup;

  /** `labels`: `srv_…` of a port, `parent_…` of a target. */
  constructor(metrics: ProxyMetrics, direction: "inbound" | "outbound", labels: Labels) {
    const { sheet } = metrics;
    this.#metrics = metrics;
    this.#labels = labels;
    this.#key = `detect ${direction} ${formatLabels(labels)}`;
    this.#total = sheet.family(
      `${direction}_tcp_detect_http_results_total`,
      "counter",
      "Connections whose protocol was detected, by outcome",
    );
    this.#seconds = sheet.family(
      `${direction}_tcp_detect_http_duration_seconds`,
      "histogram",
      "From a connection's begin to its protocol, in seconds",
      SECONDS,
    );
    this.#group = sheet.group(this.#key);
  }

  /** A connection's protocol was told, or not, after `ms`. */
  detected(result: DetectResult, ms: number): void {
    const { sheet } = this.#metrics;
    if (!this.#group.live) this.#group = sheet.group(this.#key);
    sheet.add(this.#group.cell(this.#total, { ...this.#labels, result }), 1);
    sheet.observe(this.#seconds, this.#group.cell(this.#seconds, this.#labels), ms / 1000);
  }
}

/** An outbound connection to a target whose policy says this of its protocol. */
export function countProtocol(
  metrics: ProxyMetrics,
  protocol: KnownProtocol,
  parent: Labels,
): void {
  const { sheet } = metrics;
  const family = sheet.family(
    "outbound_tcp_protocol_connections_total",
    "counter",
    "Outbound connections by what their policy says of the protocol",
  );
  const labels = { protocol, ...parent };
  sheet.add(sheet.group(`protocol ${formatLabels(labels)}`).cell(family, labels), 1);
}

/** What a transport header said, and whose it was. */
export interface HeaderLabels {
  readonly protocol: "http1" | "http2" | "opaque";
  readonly port: number;
  /** The name that it asks for; empty: a port of this pod. */
  readonly name: string;
  /** The identity of who sent it. */
  readonly clientId: string;
}

/** An inbound connection that began with a transport header. */
export function countTransportHeader(metrics: ProxyMetrics, header: HeaderLabels): void {
  const { sheet } = metrics;
  const family = sheet.family(
    "inbound_tcp_transport_header_connections_total",
    "counter",
    "Connections that began with a transport header, by what it said",
  );
  const { protocol } = header;
  const labels = {
    session_protocol: protocol === "http1" ? "http/1" : protocol === "http2" ? "http/2" : "",
    target_port: String(header.port),
    target_name: header.name,
    client_id: header.clientId,
  };
  sheet.add(sheet.group(`header ${formatLabels(labels)}`).cell(family, labels), 1);
}
