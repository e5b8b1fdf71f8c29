// Reads what the proxies say of themselves: Prometheus text to samples, samples to counts for each
// service. Pure but for `scrape`.

import { errorText } from "../core/errors.ts";

/** One line of the exposition format. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An endpoint as a proxy's balancer sees it. */
export interface EndpointFigures {
  readonly authority: string;
  readonly addr: string;
  readonly weight: number;
  readonly ewmaMs: number;
  readonly pending: number;
  readonly state: string;
}

/** A filter as a proxy runs it. */
export interface FilterFigures {
  readonly name: string;
  readonly sha256: string;
  readonly calls: number;
  readonly nsPerCall: number;
  readonly traps: number;
  readonly lastError: string;
  readonly state: string;
}

/** `GET /tulle/stats.json` of a proxy. */
export interface ProxyStats {
  readonly proxy: {
    readonly rssMiB: number;
    readonly mtlsConnections: number;
    readonly plaintextConnections: number;
  };
  readonly endpoints: readonly EndpointFigures[];
  readonly filters: readonly FilterFigures[];
}

/** One look at one proxy. */
export interface ProxySnapshot {
  readonly samples: readonly Sample[];
  readonly stats: ProxyStats;
}

const MAX_SAMPLES = 100_000;
const SCRAPE_TIMEOUT_MS = 1_000;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/;

/** Parses the text format; what is not a sample is skipped. Only families that `wanted` takes are kept. */
export function parseSamples(text: string, wanted: (name: string) => boolean): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const m = LINE.exec(line);
    if (m === null || !wanted(m[1] ?? "")) continue;
    const labels: Record<string, string> = {};
    for (const [, name = "", value = ""] of (m[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c);
    }
    const value = m[3] === "+Inf" ? Infinity : Number(m[3]);
    if (!Number.isNaN(value)) samples.push({ name: m[1] ?? "", labels, value });
    if (samples.length >= MAX_SAMPLES) break;
  }
  return samples;
}

const FAMILIES = new Set([
  "request_total",
  "route_response_total",
  "route_response_latency_ms_bucket",
  "route_actual_response_total",
]);

/** Asks one proxy's admin server; rejects with one line that names it. */
export async function scrape(admin: string): Promise<ProxySnapshot> {
  const [metrics, stats] = await Promise.all([
    fetchText(`http://${admin}/metrics`),
    fetchStats(admin),
  ]);
  return { samples: parseSamples(metrics, (name) => FAMILIES.has(name)), stats };
}

/** Only the part that is JSON. */
export async function fetchStats(admin: string): Promise<ProxyStats> {
  return JSON.parse(await fetchText(`http://${admin}/tulle/stats.json`)) as ProxyStats;
}

/** A body as text; rejects on any status but 200. */
export async function fetchText(url: string): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
    const text = await response.text();
    if (!response.ok) throw new Error(`status ${response.status}: ${text.slice(0, 200).trim()}`);
    return text;
  } catch (e) {
    const cause = e instanceof Error && e.cause !== undefined ? `: ${errorText(e.cause)}` : "";
    throw new Error(`GET ${url}: ${errorText(e)}${cause}`, { cause: e });
  }
}
