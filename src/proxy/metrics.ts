// The proxy's metrics: every family it has, and the few objects through which layers count. Families
// and labels are Linkerd's, so that its dashboards and CLI read them.

import type { Meter } from "../core/driver.ts";
import { type Family, type Labels, Sheet } from "../core/sheet.ts";

/** Linkerd's latency buckets, in milliseconds. */
const LATENCY_MS = [
  ...[1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000, 5000],
  ...[10000, 20000, 30000, 40000, 50000],
];

/** There before the families, which are made in it. */
class WithSheet {
  readonly sheet: Sheet;
  constructor(sheet: Sheet) {
    this.sheet = sheet;
  }
}

/** All families of one data-plane thread. */
export class ProxyMetrics extends WithSheet {
  readonly #family = (
    name: string,
    type: Family["type"],
    help: string,
    bounds?: readonly number[],
  ) => this.sheet.family(name, type, help, bounds);
  readonly request = this.#family("request_total", "counter", "Requests sent or received");
  readonly response = this.#family("response_total", "counter", "Responses, by class and status");
  readonly latency = this.#family(
    "response_latency_ms",
    "histogram",
    "From the request to the response's end, in milliseconds",
    LATENCY_MS,
  );
  readonly routeRequest = this.#family(
    "route_request_total",
    "counter",
    "Requests to a route, retries not counted",
  );
  readonly routeResponse = this.#family(
    "route_response_total",
    "counter",
    "Responses of a route after retries",
  );
  readonly routeLatency = this.#family(
    "route_response_latency_ms",
    "histogram",
    "From the request to the response's end after retries, in milliseconds",
    LATENCY_MS,
  );
  readonly routeActualRequest = this.#family(
    "route_actual_request_total",
    "counter",
    "Attempts on a route",
  );
  readonly routeActualResponse = this.#family(
    "route_actual_response_total",
    "counter",
    "Outcomes of attempts",
  );
  readonly routeRetryable = this.#family(
    "route_retryable_total",
    "counter",
    "Failures that a filter wanted retried",
  );
  readonly tcpOpen = this.#family("tcp_open_total", "counter", "Connections opened");
  readonly tcpOpenNow = this.#family("tcp_open_connections", "gauge", "Connections open now");
  readonly tcpClose = this.#family("tcp_close_total", "counter", "Connections closed");
  readonly tcpRead = this.#family("tcp_read_bytes_total", "counter", "Bytes read from connections");
  readonly tcpWrite = this.#family(
    "tcp_write_bytes_total",
    "counter",
    "Bytes written to connections",
  );
  readonly inboundErrors = this.#family(
    "inbound_http_errors_total",
    "counter",
    "Requests that failed here, inbound",
  );
  readonly outboundErrors = this.#family(
    "outbound_http_errors_total",
    "counter",
    "Requests that failed here, outbound",
  );
  readonly inboundTcpErrors = this.#family(
    "inbound_tcp_errors_total",
    "counter",
    "Connections that failed here, inbound",
  );
  readonly outboundTcpErrors = this.#family(
    "outbound_tcp_errors_total",
    "counter",
    "Connections that failed here, outbound",
  );
  readonly authzAllow = this.#family(
    "inbound_http_authz_allow_total",
    "counter",
    "Requests that the policy allowed",
  );
  readonly authzDeny = this.#family(
    "inbound_http_authz_deny_total",
    "counter",
    "Requests that the policy denied",
  );
  readonly tcpAuthzAllow = this.#family(
    "inbound_tcp_authz_allow_total",
    "counter",
    "Connections that the policy allowed",
  );
  readonly tcpAuthzDeny = this.#family(
    "inbound_tcp_authz_deny_total",
    "counter",
    "Connections that the policy denied",
  );
  readonly balancerHash = this.#family(
    "outbound_http_balancer_hash_total",
    "counter",
    "Attempts to a destination with consistent hashing, by what became of their key",
  );
  readonly routeNotFound = this.#family(
    "inbound_http_route_not_found_total",
    "counter",
    "Requests without a route",
  );
  readonly workersServing = this.#family(
    "worker_threads_serving",
    "gauge",
    "Worker threads of the data plane that accept connections",
  );
  readonly workerExits = this.#family(
    "worker_exits_total",
    "counter",
    "Worker threads that ended and were started again",
  );
  readonly seriesRefused = this.#family(
    "metrics_series_overflow_total",
    "counter",
    "Label sets that were over the bound of series when they were asked for",
  );
  readonly filterKeysRefused = this.#family(
    "filter_host_keys_refused_total",
    "counter",
    "Times that the keys of filters could not be read anew",
  );
  /** Connections between proxies, accepted or made; what is local to the pod does not count. */
  mtlsConnections = 0;
  plaintextConnections = 0;

  /** `sheet`: a worker's, which others see. */
  constructor(sheet = new Sheet()) {
    super(sheet);
  }

  /** Adds one to a series at error rate; not for the hot path. */
  count(family: Family, labels: Labels): void {
    this.sheet.add(this.sheet.cell(family, labels), 1);
  }
}

/** What the exposition calls success and failure. */
function classification(failed: boolean): string {
  return failed ? "failure" : "success";
}

/** `request_total`, `response_total` and `response_latency_ms` under one set of labels. Target rate. */
export class RequestSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #request: number;
  /** Cells by `status * 2 + failed`; -1 until such a response was seen. */
  readonly #response = new Int32Array(2000).fill(-1);
  readonly #latency = new Int32Array(1000).fill(-1);
  /** The same for gRPC calls that had a status of 200, by `code * 2 + failed`. */
  #grpc: Int32Array | null = null;

  constructor(metrics: ProxyMetrics, labels: Labels) {
    this.#m = metrics;
    this.#labels = labels;
    this.#request = metrics.sheet.cell(metrics.request, labels);
  }

  started(): void {
    this.#m.sheet.add(this.#request, 1);
  }

  /**
   * `error` is for responses that ended in one; the status is what was sent or received, 0 for none.
   * `grpcStatus`: of a gRPC call; -1: it was none.
   */
  ended(status: number, failed: boolean, ms: number, error = "", grpcStatus = -1): void {
    const { sheet } = this.#m;
    const isGrpc = grpcStatus >= 0 && status === 200;
    // what is no code of gRPC counts as UNKNOWN: a peer must not make labels
    const code = grpcStatus > 16 ? 2 : grpcStatus;
    const cells = isGrpc ? this.#grpc ??= new Int32Array(34).fill(-1) : this.#response;
    const key = (isGrpc ? code : status) * 2 + (failed ? 1 : 0);
    let cell = cells[key] as number;
    if (cell < 0 || error !== "") {
      cell = sheet.cell(this.#m.response, {
        ...this.#labels,
        status_code: status === 0 ? "" : String(status),
        classification: classification(failed),
        grpc_status: isGrpc ? String(code) : "",
        error,
      });
      if (error === "") cells[key] = cell;
    }
    sheet.add(cell, 1);
    let latency = this.#latency[status] as number;
    if (latency < 0) {
      latency = sheet.cell(this.#m.latency, {
        ...this.#labels,
        status_code: status === 0 ? "" : String(status),
      });
      this.#latency[status] = latency;
    }
    sheet.observe(this.#m.latency, latency, Math.floor(ms));
  }
}

/** The `route_*` families of one route of a destination: effective and per attempt. */
export class RouteSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #request: number;
  readonly #latency: number;
  readonly #actualRequest: number;
  readonly #responses: Int32Array[] = [
    new Int32Array(2000).fill(-1),
    new Int32Array(2000).fill(-1),
  ];

  constructor(metrics: ProxyMetrics, labels: Labels) {
    const { sheet } = metrics;
    this.#m = metrics;
    this.#labels = labels;
    this.#request = sheet.cell(metrics.routeRequest, labels);
    this.#latency = sheet.cell(metrics.routeLatency, labels);
    this.#actualRequest = sheet.cell(metrics.routeActualRequest, labels);
  }

  started(): void {
    this.#m.sheet.add(this.#request, 1);
  }

  ended(status: number, failed: boolean, ms: number): void {
    this.#m.sheet.add(this.#cell(0, status, failed), 1);
    this.#m.sheet.observe(this.#m.routeLatency, this.#latency, Math.floor(ms));
  }

  attempt(): void {
    this.#m.sheet.add(this.#actualRequest, 1);
  }

  attempted(status: number, failed: boolean): void {
    this.#m.sheet.add(this.#cell(1, status, failed), 1);
  }

  /** A retry that a filter wanted: made, or skipped with a reason. */
  retry(skipped: string): void {
    this.#m.count(
      this.#m.routeRetryable,
      skipped === "" ? this.#labels : { ...this.#labels, skipped },
    );
  }

  #cell(actual: 0 | 1, status: number, failed: boolean): number {
    const cells = this.#responses[actual] as Int32Array;
    const key = status * 2 + (failed ? 1 : 0);
    let cell = cells[key] as number;
    if (cell < 0) {
      cell = this.#m.sheet.cell(
        actual === 0 ? this.#m.routeResponse : this.#m.routeActualResponse,
        {
          ...this.#labels,
          status_code: status === 0 ? "" : String(status),
          classification: classification(failed),
        },
      );
      cells[key] = cell;
    }
    return cell;
  }
}

/** `tcp_*` of one side of a connection. Target rate. */
export class ConnectionSeries implements Meter {
  readonly #m: ProxyMetrics;
  readonly #open: number;
  readonly #now: number;
  readonly #labels: Labels;
  readonly #read: number;
  readonly #write: number;
  #closed = -1;

  constructor(metrics: ProxyMetrics, labels: Labels) {
    this.#m = metrics;
    this.#labels = labels;
    this.#read = metrics.sheet.cell(metrics.tcpRead, labels);
    this.#write = metrics.sheet.cell(metrics.tcpWrite, labels);
    this.#open = metrics.sheet.cell(metrics.tcpOpen, labels);
    this.#now = metrics.sheet.cell(metrics.tcpOpenNow, labels);
  }

  read(bytes: number): void {
    this.#m.sheet.add(this.#read, bytes);
  }

  wrote(bytes: number): void {
    this.#m.sheet.add(this.#write, bytes);
  }

  opened(): void {
    this.#m.sheet.add(this.#open, 1);
    this.#m.sheet.add(this.#now, 1);
  }

  closed(): void {
    if (this.#closed < 0) {
      this.#closed = this.#m.sheet.cell(this.#m.tcpClose, { ...this.#labels, errno: "" });
    }
    this.#m.sheet.add(this.#closed, 1);
    this.#m.sheet.add(this.#now, -1);
  }
}
