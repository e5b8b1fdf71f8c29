// `/metrics` of the control plane, in the Prometheus text format.

import { formatLabels } from "../../core/sheet.ts";
import type { Labels } from "../../core/sheet.ts";
import type { Live } from "./live.ts";
import type { AdminState } from "./state.ts";

/** Content type of the text format. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

type Samples = readonly (readonly [labels: Labels, value: number])[];

/** The whole document. */
export function controlMetrics(state: AdminState, live: Live): string {
  const { streamsOpen, updatesSent, certificatesIssued, refusals } = state.counters();
  const { services, filters, proxies } = live.view();
  const own = live.counts;
  const endpoints = services.flatMap((service) => service.endpoints);
  return [
    family("tulle_control_streams_open", "gauge", "Open streams", by("method", streamsOpen)),
    family(
      "tulle_control_updates_sent_total",
      "counter",
      "Messages sent on streams",
      by("method", updatesSent),
    ),
    family("tulle_control_certificates_issued_total", "counter", "Certificates issued", [
      [{}, certificatesIssued],
    ]),
    family(
      "tulle_control_refusals_total",
      "counter",
      "Certificates, modules and resources that were refused",
      by("what", refusals),
    ),
    family("tulle_control_services", "gauge", "Services known", [[{}, services.length]]),
    family("tulle_control_endpoints", "gauge", "Endpoints known", [
      [{ ready: "true" }, endpoints.filter(({ ready }) => ready).length],
      [{ ready: "false" }, endpoints.filter(({ ready }) => !ready).length],
    ]),
    family("tulle_control_filters", "gauge", "Filters known", [
      ...(["serving", "pending", "refused"] as const).map((is) =>
        [{ state: is }, filters.filter(({ state }) => state === is).length] as const
      ),
    ]),
    family("tulle_control_proxies", "gauge", "Proxies, as their admin port answers", [
      ...(["up", "starting", "away"] as const).map((is) =>
        [{ state: is }, proxies.filter(({ state }) => state === is).length] as const
      ),
    ]),
    family(
      "tulle_control_anchor_expiry_timestamp_seconds",
      "gauge",
      "When a trust anchor expires",
      state.identities().anchors.map(({ name, serial, notAfter }) =>
        [{ name, serial }, notAfter / 1000] as const
      ),
    ),
    family("tulle_admin_event_streams", "gauge", "Open event streams", [[{}, own.eventStreams]]),
    family(
      "tulle_admin_event_streams_dropped_total",
      "counter",
      "Event streams cut because the client did not read",
      [[{}, own.eventStreamsDropped]],
    ),
    family("tulle_admin_scrapes_total", "counter", "Scrapes of proxies", [
      [{ result: "ok" }, own.scrapesSucceeded],
      [{ result: "failed" }, own.scrapesFailed],
    ]),
  ].join("");
}

function by(label: string, values: Readonly<Record<string, number>>): Samples {
  return Object.entries(values).map(([key, value]) => [{ [label]: key }, value] as const);
}

function family(name: string, type: "counter" | "gauge", help: string, samples: Samples): string {
  const lines = samples.map(([labels, value]) => {
    const text = formatLabels(labels);
    return `${name}${text === "" ? "" : `{${text}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}.\n# TYPE ${name} ${type}\n${lines.join("")}`;
}
