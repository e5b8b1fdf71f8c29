// The registry families of one outbound route (`outbound_http_route_…`, `outbound_grpc_route_…`): what its
// clients see, and its retries. Made at target rate; requests and frames add to cells that are known.

import type { Head, RequestHead } from "../../core/head.ts";
import { type Family, formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";
import type { StreamError } from "./errors.ts";
import { ExemplarGate } from "./exemplars.ts";
import {
  CellsBy,
  FEW_SECONDS,
  FRAME_BYTES,
  grpcCode,
  outcomeLabels,
  streamFamily,
} from "./streams.ts";

/** Names whose series one route keeps at hand; more are counted without a name. */
const MAX_HOSTS = 100;
const STATUSES = 1000;

/** Where a route's requests are from and what they are matched by. */
export interface RouteNames {
  /** `parent_…` and `route_…`. */
  readonly labels: Labels;
  readonly isGrpc: boolean;
  /** Whether `hostname` says what a request asks for. */
  readonly hostnames: boolean;
  /** The wildcard that stands for all names of the route, such as `*.example.com`; empty: there is none. */
  readonly wildcard: string;
}

/** One route's series. */
export class OutboundRouteSeries {
  readonly #m: ProxyMetrics;
  readonly #of: RouteNames;
  readonly #frames: Family;
  readonly #retries: Readonly<
    Record<"requests" | "successes" | "limit_exceeded" | "overflow", Family>
  >;
  readonly #key: string;
  readonly #nameless: HostSeries;
  readonly #hosts = new Map<string, HostSeries>();
  #lastAuthority = "";
  #last: HostSeries;
  #group: SeriesGroup;
  #frame = -1;

  constructor(metrics: ProxyMetrics, of: RouteNames) {
    this.#m = metrics;
    this.#of = of;
    const { sheet } = metrics;
    const { isGrpc, labels } = of;
    const family = (name: string, type: Family["type"], help: string, bounds?: readonly number[]) =>
      streamFamily(sheet, "outbound", isGrpc, `route_${name}`, type, help, bounds);
    this.#frames = family(
      "request_frame_size_bytes",
      "histogram",
      "Pieces of request bodies as they passed",
      FRAME_BYTES,
    );
    this.#retries = {
      requests: family("retry_requests_total", "counter", "Retries that were made"),
      successes: family("retry_successes_total", "counter", "Requests that succeeded by a retry"),
      limit_exceeded: family(
        "retry_limit_exceeded_total",
        "counter",
        "Failures that were not tried again, since that was done as often as allowed",
      ),
      overflow: family(
        "retry_overflow_total",
        "counter",
        "Failures that were not tried again for lack of budget, time or room for the body",
      ),
    };
    this.#key = `outbound ${isGrpc} ${formatLabels(labels)}`;
    this.#group = sheet.group(this.#key);
    this.#renew();
    this.#nameless = new HostSeries(metrics, of, "");
    this.#last = this.#nameless;
  }

  #renew(): void {
    this.#group = this.#m.sheet.group(this.#key);
    this.#frame = this.#group.cell(this.#frames, this.#of.labels);
  }

  requestFrame(bytes: number): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.observe(this.#frames, this.#frame, bytes);
  }

  /** A retry was made, was a success, or was not made for a reason. */
  retry(what: "requests" | "successes" | "limit_exceeded" | "overflow"): void {
    if (!this.#group.live) this.#renew();
    this.#m.sheet.add(this.#group.cell(this.#retries[what], this.#of.labels), 1);
  }

  /** The exchange is over. `status` 0: no response came; `grpcStatus` -1: there was none. */
  ended(
    head: RequestHead,
    status: number,
    grpcStatus: number,
    error: StreamError,
    ms: number,
    nowMs: number,
  ): void {
    const host = this.#of.hostnames ? this.#host(head.authority) : this.#nameless;
    const code = this.#of.isGrpc ? grpcCode(grpcStatus) : status;
    host.ended(code, error, ms / 1000, head, nowMs);
  }

  #host(authority: string): HostSeries {
    if (authority === this.#lastAuthority) return this.#last;
    const name = this.#of.wildcard === "" ? hostnameOf(authority) : this.#of.wildcard;
    let host = name === "" ? this.#nameless : this.#hosts.get(name);
    if (host === undefined) {
      if (this.#hosts.size >= MAX_HOSTS) host = this.#nameless;
      else this.#hosts.set(name, host = new HostSeries(this.#m, this.#of, name));
    }
    this.#lastAuthority = authority;
    this.#last = host;
    return host;
  }
}

/** What is counted by name. */
class HostSeries {
  readonly #m: ProxyMetrics;
  readonly #seconds: Family;
  readonly #statuses: Family;
  readonly #labels: Labels;
  readonly #isGrpc: boolean;
  readonly #key: string;
  readonly #exemplars = new ExemplarGate(FEW_SECONDS.length + 1);
  readonly #cells: CellsBy;
  #group: SeriesGroup;
  #time = -1;

  constructor(metrics: ProxyMetrics, { labels, isGrpc }: RouteNames, hostname: string) {
    const { sheet } = metrics;
    const what = isGrpc ? "gRPC" : "HTTP";
    this.#m = metrics;
    this.#isGrpc = isGrpc;
    this.#labels = { ...labels, hostname };
    this.#seconds = streamFamily(
      sheet,
      "outbound",
      isGrpc,
      "route_request_duration_seconds",
      "histogram",
      "From a request's begin to the end of its response, retries included",
      FEW_SECONDS,
    );
    this.#statuses = streamFamily(
      sheet,
      "outbound",
      isGrpc,
      "route_request_statuses_total",
      "counter",
      `Ended ${what} requests by status and error`,
    );
    this.#key = `host ${isGrpc} ${formatLabels(this.#labels)}`;
    this.#cells = new CellsBy(STATUSES, (code) => this.#cell(code, ""));
    this.#group = sheet.group(this.#key);
    this.#renew();
  }

  #renew(): void {
    this.#group = this.#m.sheet.group(this.#key);
    this.#time = this.#group.cell(this.#seconds, this.#labels);
    this.#cells.forget();
  }

  #cell(code: number, error: StreamError): number {
    const labels = { ...this.#labels, ...outcomeLabels(this.#isGrpc, code, error) };
    return this.#group.cell(this.#statuses, labels);
  }

  ended(code: number, error: StreamError, seconds: number, head: Head, nowMs: number): void {
    if (!this.#group.live) this.#renew();
    const { sheet } = this.#m;
    sheet.add(error === "" ? this.#cells.at(code) : this.#cell(code, error), 1);
    const bucket = sheet.observe(this.#seconds, this.#time, seconds);
    this.#exemplars.observed(this.#m, this.#time, bucket, seconds, head, nowMs);
  }
}

/** The name in an authority, in lower case and without its port; empty for an address or no name. */
export function hostnameOf(authority: string): string {
  const name = authority.replace(/:\d*$/, "").replace(/\.$/, "").toLowerCase();
  const isName = name.length <= 253 &&
    /^(?:[a-z\d_](?:[a-z\d_-]{0,61}[a-z\d_])?\.)*[a-z\d_](?:[a-z\d_-]{0,61}[a-z\d_])?$/.test(name);
  // The last part of a name is not a number, that of an address is.
  return isName && !/(?:^|\.)\d+$/.test(name) ? name : "";
}
