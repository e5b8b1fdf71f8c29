// The proxy's admin server (4191): health, metrics, and our own figures as JSON. A plain fetch
// handler; reads snapshots of what others own and changes nothing.

import { Hono } from "hono";
import { compress } from "hono/compress";
import type { FilterSeries, FilterStats } from "../core/filter.ts";
import { type AdminOperations, adminOperations } from "./admin-operations.ts";
import { exposition, formatFor, FORMATS } from "./exposition.ts";
import type { ProxyMetrics } from "./metrics.ts";
import type { EndpointState } from "./outbound/endpoint.ts";
import type { Targets } from "./outbound/targets.ts";

/** What the admin server shows. */
export interface AdminSources {
  /** The pod's name; empty for a proxy without a control plane. */
  readonly pod: string;
  readonly metrics: ProxyMetrics;
  readonly targets: Targets | null;
  /** True once listeners serve: with identity, after the first certificate. */
  ready(): boolean;
  filterSeries(): readonly FilterSeries[];
  filterStats(): readonly (FilterStats & { readonly state: string })[];
  process(): { readonly rssBytes: number; readonly cpuSeconds: number };
  now(): number;
  /** None for a proxy without a control plane, which ends with its terminal. */
  readonly operations?: AdminOperations;
}

/** `/live`, `/ready`, `/metrics` and the operations as Linkerd's, and `/tulle/stats.json`. */
export function createProxyAdmin(s: AdminSources): Hono {
  const app = new Hono();
  app.get("/live", (c) => c.text("live\n"));
  app.get("/ready", (c) => s.ready() ? c.text("ready\n") : c.text("not ready\n", 503));
  app.get("/metrics", compress({ encoding: "gzip", contentTypeFilter: () => true }), (c) => {
    const { sheet, processMemory, processCpu } = s.metrics;
    const { rssBytes, cpuSeconds } = s.process();
    sheet.set(sheet.cell(processMemory, {}), rssBytes);
    sheet.set(sheet.cell(processCpu, {}), cpuSeconds);
    const format = formatFor(c.req.header("accept"));
    return c.body(exposition(sheet, s.filterSeries(), format), 200, {
      "content-type": FORMATS[format],
    });
  });
  app.get("/tulle/stats.json", (c) => c.json(stats(s)));
  if (s.operations !== undefined) app.route("/", adminOperations(s.operations));
  app.notFound((c) => c.text("not found: try /metrics, /ready, /live or /tulle/stats.json\n", 404));
  return app;
}

function stats(s: AdminSources) {
  const now = s.now();
  return {
    proxy: {
      pod: s.pod,
      rssMiB: Math.round(s.process().rssBytes / 1024 / 1024 * 10) / 10,
      mtlsConnections: s.metrics.mtlsConnections,
      plaintextConnections: s.metrics.plaintextConnections,
    },
    endpoints: [...s.targets?.all() ?? []].flatMap((target) =>
      target.endpoints.map((e) => endpoint(target.snapshot?.authority ?? "", e, now))
    ),
    filters: s.filterStats(),
  };
}

function endpoint(authority: string, state: EndpointState, now: number) {
  return {
    authority,
    addr: state.name,
    weight: state.endpoint.weight,
    ewmaMs: Math.round(state.ewma.estimate(now) * 100) / 100,
    pending: state.ewma.pending,
    state: state.isEjected(now) ? "ejected" : state.isAway(now) ? "unreachable" : "ready",
  };
}
