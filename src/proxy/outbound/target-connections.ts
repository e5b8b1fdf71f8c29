// The series of connections to targets, under the labels of the targets' policies: how detection ended,
// which route opaque ones took. Connection rate; found again by their labels.

import { formatLabels, type Labels } from "../../core/sheet.ts";
import type { OutboundSnapshot } from "../discovery/discovery.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { namedDefault, resourceLabels, routeLabels } from "../metrics/origins.ts";
import { routeOfBytes } from "./byte-route.ts";
import { DetectSeries } from "../tcp/detect-metrics.ts";
import { TcpRouteSeries } from "../tcp/route-metrics.ts";

/** Policies that a proxy may ever have heard of. */
const MAX_MEMO = 2_000;
const NO_POLICY = namedDefault("default");

/** One process's. A snapshot is null where only requests name a target. */
export class TargetConnections {
  readonly #metrics: ProxyMetrics;
  readonly #detections = new Map<string, DetectSeries>();

  constructor(metrics: ProxyMetrics) {
    this.#metrics = metrics;
  }

  /** `parent_…` of a target. */
  parent(snapshot: OutboundSnapshot | null): Labels {
    return resourceLabels("parent", snapshot?.parent ?? NO_POLICY);
  }

  detections(snapshot: OutboundSnapshot | null): DetectSeries {
    const labels = this.parent(snapshot);
    const key = formatLabels(labels);
    let series = this.#detections.get(key);
    if (series === undefined) {
      if (this.#detections.size >= MAX_MEMO) this.#detections.clear();
      series = new DetectSeries(this.#metrics, "outbound", labels);
      this.#detections.set(key, series);
    }
    return series;
  }

  /** Of the route that bytes take which are no requests; `serverName` as of the connection. */
  route(
    snapshot: OutboundSnapshot | null,
    serverName: string | null | undefined,
  ): TcpRouteSeries {
    const route = snapshot === null ? undefined : routeOfBytes(snapshot, serverName);
    return new TcpRouteSeries(this.#metrics, serverName === undefined ? "tcp" : "tls", {
      ...this.parent(snapshot),
      ...routeLabels(route?.origin ?? namedDefault(route?.name ?? "default")),
    });
  }
}
