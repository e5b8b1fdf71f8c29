// What the series of a proxy mean for golden metrics: each is mapped once to a cell (whose traffic)
// and a field (which count). Before it: `exposition.ts`; after it: `window.ts`.

import { LATENCY_BOUNDS_MS } from "./quantile.ts";
import type { SeriesName } from "./exposition.ts";

/** Fields of a cell. Effective: as the caller sees it, after retries. Actual: per attempt. */
export const EFFECTIVE_OK = 0;
export const EFFECTIVE_FAILED = 1;
export const ACTUAL_OK = 2;
export const ACTUAL_FAILED = 3;
/** `response_total`, which every proxy has, with or without a ServiceProfile. */
export const RESPONSE_OK = 4;
export const RESPONSE_FAILED = 5;
export const RESPONSE_TLS = 6;
export const RESPONSE_PLAIN = 7;
/** Gauges: the newest value counts, not a difference. */
export const OPEN_TLS = 8;
export const OPEN_PLAIN = 9;
/** Cumulative buckets of the effective latency, then those of an attempt's. */
export const ROUTE_BUCKETS = 10;
export const BUCKETS = ROUTE_BUCKETS + LATENCY_BOUNDS_MS.length + 1;
export const FIELDS = BUCKETS + LATENCY_BOUNDS_MS.length + 1;

/** Requests that other pods sent to this one. Outbound cells are named by the service's id. */
export const INBOUND = "";

/** The families that are read; all others are skipped. */
export const FAMILIES: ReadonlySet<string> = new Set([
  "response_total",
  "route_response_total",
  "route_actual_response_total",
  "response_latency_ms_bucket",
  "route_response_latency_ms_bucket",
  "tcp_open_connections",
]);

/** Where a series is counted. */
export interface Meaning {
  readonly cell: string;
  readonly fields: readonly number[];
  readonly gauge: boolean;
}

/** The meaning of a series, or null when it says nothing of traffic between services. */
export function meaningOf({ family, labels }: SeriesName): Meaning | null {
  const cell = cellOf(family, labels);
  if (cell === null) return null;
  const ok = labels.get("classification") === "success";
  switch (family) {
    case "response_total": {
      const secured = labels.get("tls") === "true" ? RESPONSE_TLS : RESPONSE_PLAIN;
      return counts(cell, ok ? RESPONSE_OK : RESPONSE_FAILED, secured);
    }
    case "route_response_total":
      return counts(cell, ok ? EFFECTIVE_OK : EFFECTIVE_FAILED);
    case "route_actual_response_total":
      return counts(cell, ok ? ACTUAL_OK : ACTUAL_FAILED);
    case "response_latency_ms_bucket":
      return bucket(cell, BUCKETS, labels.get("le"));
    case "route_response_latency_ms_bucket":
      return bucket(cell, ROUTE_BUCKETS, labels.get("le"));
    case "tcp_open_connections": {
      const secured = labels.get("tls") === "true" ? OPEN_TLS : OPEN_PLAIN;
      return labels.get("peer") === "dst" ? { cell, fields: [secured], gauge: true } : null;
    }
    default:
      return null;
  }
}

function counts(cell: string, ...fields: readonly number[]): Meaning {
  return { cell, fields, gauge: false };
}

/** A bound that is not ours is left out: the buckets that remain are still cumulative, only coarser. */
function bucket(cell: string, first: number, le: string | undefined): Meaning | null {
  if (le === "+Inf") return counts(cell, first + LATENCY_BOUNDS_MS.length);
  const i = LATENCY_BOUNDS_MS.indexOf(Number(le));
  return i === -1 ? null : counts(cell, first + i);
}

function cellOf(family: string, labels: ReadonlyMap<string, string>): string | null {
  if (labels.get("direction") === "outbound") {
    const namespace = labels.get("dst_namespace");
    const service = labels.get("dst_service");
    if (namespace && service) return `${namespace}/${service}`;
    return serviceOfAuthority(labels.get("dst") ?? labels.get("authority") ?? "");
  }
  // Probes of the kubelet are not traffic, and what a profile counts inbound is counted outbound too.
  const wanted = labels.get("direction") === "inbound" && labels.get("route_name") !== "probe";
  return wanted && !family.startsWith("route_") ? INBOUND : null;
}

/** `name.namespace.svc.cluster.local:80` → `namespace/name`; null for what is no service. */
export function serviceOfAuthority(authority: string): string | null {
  const m = /^([a-z0-9-]{1,63})\.([a-z0-9-]{1,63})\.svc[.:]/.exec(authority + ":");
  return m === null ? null : `${m[2]}/${m[1]}`;
}
