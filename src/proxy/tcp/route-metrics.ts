// `outbound_tcp_route_…` and `outbound_tls_route_…`: opaque connections and TLS that passes through, by
// the route that they took. Connection rate.

import type { ErrorKind, MeshError } from "../../core/errors.ts";
import { formatLabels, type Labels } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** `error` of a closed connection, as Linkerd writes it. */
type RouteError = "" | "forbidden" | "invalid_backend" | "invalid_policy" | "unexpected";

const ERRORS: Partial<Readonly<Record<ErrorKind, RouteError>>> = {
  "client-gone": "",
  "unauthorized": "forbidden",
  "no-backend": "invalid_backend",
  "no-service": "invalid_backend",
  "no-route": "invalid_policy",
  "policy": "invalid_policy",
};

/** The connections of one route. */
export class TcpRouteSeries {
  readonly #metrics: ProxyMetrics;
  readonly #kind: "tcp" | "tls";
  readonly #labels: Labels;

  /** `labels`: `parent_…` and `route_…`. */
  constructor(metrics: ProxyMetrics, kind: "tcp" | "tls", labels: Labels) {
    this.#metrics = metrics;
    this.#kind = kind;
    this.#labels = labels;
  }

  opened(): void {
    this.#count("open_total", "Connections that took a route", this.#labels);
  }

  /** `why`: what ended it early; null: it ended in order. */
  closed(why: MeshError | null): void {
    const error = why === null ? "" : ERRORS[why.kind] ?? "unexpected";
    this.#count("close_total", "Connections of a route that ended", { ...this.#labels, error });
  }

  #count(name: string, help: string, labels: Labels): void {
    const { sheet } = this.#metrics;
    const full = `outbound_${this.#kind}_route_${name}`;
    const family = sheet.family(full, "counter", help);
    sheet.add(sheet.group(`${full} ${formatLabels(labels)}`).cell(family, labels), 1);
  }
}
