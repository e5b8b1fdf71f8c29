// The proxy's admin server (4191): health, metrics, and our own figures as JSON. A plain fetch
// handler; reads snapshots of what others own and changes nothing.

import { Hono } from "hono";
import { compress } from "hono/compress";
import { type AdminOperations, adminOperations } from "./admin-operations.ts";
import type { FilterStatus } from "./discovery/filters.ts";
import { exposition, formatFor, FORMATS } from "./exposition.ts";
import { filterReport, hostSeries } from "./filter-series.ts";
import type { ProcessMetrics, ProcessUsage } from "./process-metrics.ts";
import type { PlaneReport } from "./report.ts";

/** What the admin server shows. */
export interface AdminSources {
  /** The pod's name; empty for a proxy without a control plane. */
  readonly pod: string;
  /** In this thread's sheet, which `report` has too. */
  readonly processMetrics: ProcessMetrics;
  /** Everything at this moment, over all threads. */
  report(): Promise<PlaneReport>;
  /** True once listeners serve: with identity, after the first certificate. */
  ready(): boolean;
  /** What each route wants and runs; null: without a control plane, all that was given runs. */
  filterStatus(): readonly FilterStatus[] | null;
  process(): ProcessUsage;
  /** The wall clock, in milliseconds. */
  wall(): number;
  /** None for a proxy without a control plane, which ends with its terminal. */
  readonly operations?: AdminOperations;
}

/** `/live`, `/ready`, `/metrics` and the operations as Linkerd's, and `/tulle/stats.json`. */
export function createProxyAdmin(s: AdminSources): Hono {
  const app = new Hono();
  app.get("/live", (c) => c.text("live\n"));
  app.get("/ready", (c) => s.ready() ? c.text("ready\n") : c.text("not ready\n", 503));
  app.get("/metrics", compress({ encoding: "gzip", contentTypeFilter: () => true }), async (c) => {
    s.processMetrics.update(s.process(), s.wall());
    const { sheet, filterSeries, filterStats } = await s.report();
    const format = formatFor(c.req.header("accept"));
    const series = [...filterSeries, ...hostSeries(filterStats, s.filterStatus() ?? [])];
    return c.body(exposition(sheet, series, format), 200, { "content-type": FORMATS[format] });
  });
  app.get("/tulle/stats.json", async (c) => c.json(stats(s, await s.report())));
  if (s.operations !== undefined) app.route("/", adminOperations(s.operations));
  app.notFound((c) => c.text("not found: try /metrics, /ready, /live or /tulle/stats.json\n", 404));
  return app;
}

function stats(s: AdminSources, report: PlaneReport) {
  const { mtlsConnections, plaintextConnections, endpoints, filterStats } = report;
  const status = s.filterStatus();
  return {
    proxy: {
      pod: s.pod,
      rssMiB: Math.round(s.process().rssBytes / 1024 / 1024 * 10) / 10,
      mtlsConnections,
      plaintextConnections,
    },
    endpoints,
    filters: status === null
      ? filterStats.map((one) => ({ ...one, state: "serving" }))
      : filterReport(filterStats, status),
  };
}
