// The families that are counted in many places, and the sheet that they are in. Families and labels are
// Linkerd's, so that its dashboards and CLI read them; `metrics/` has the objects through which layers
// count, and `docs/METRICS.md` says what each family is.

import { type Family, formatLabels, type Labels, Sheet } from "../core/sheet.ts";

/** Linkerd's latency buckets, in milliseconds. */
export const LATENCY_MS: readonly number[] = [
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
  readonly transferCost = this.#family(
    "outbound_tcp_transfer_cost_bytes_total",
    "counter",
    "Bytes to and from endpoints, by whether they are in the same zone",
  );
  readonly inboundErrors = this.#family(
    "inbound_http_errors_total",
    "counter",
    "Requests that failed here, inbound",
  );
  readonly inboundProfilesRefused = this.#family(
    "inbound_http_profiles_refused_total",
    "counter",
    "Requests whose l5d-dst-canonical was not looked up: too many other names are in use",
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
  readonly ingressWithoutOverride = this.#family(
    "outbound_http_ingress_without_override_total",
    "counter",
    "Requests in ingress mode that did not say where they go",
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
  readonly localRateLimit = this.#family(
    "inbound_http_local_ratelimit_total",
    "counter",
    "Requests over a local rate limit",
  );
  readonly tcpAuthzTerminate = this.#family(
    "inbound_tcp_authz_terminate_total",
    "counter",
    "Connections that were ended since the policy allows them no longer",
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
  readonly accessLogDropped = this.#family(
    "access_log_dropped_total",
    "counter",
    "Lines of the access log that could not be written in time",
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

  /** The wall clock, in milliseconds. */
  readonly wall: () => number;

  /** `sheet`: a worker's, which others see. `wall`: for the times of exemplars. */
  constructor(sheet: Sheet = new Sheet(), wall: () => number = () => 0) {
    super(sheet);
    this.wall = wall;
  }

  /** As `count`, for labels that a peer may choose: the series goes when it idles. */
  countPassing(family: Family, labels: Labels): void {
    const text = formatLabels(labels);
    const group = this.sheet.group(`${family.name} ${text}`);
    this.sheet.add(this.sheet.cellOf(family, text, group), 1);
  }

  /** Adds one to a series at error rate; not for the hot path. */
  count(family: Family, labels: Labels): void {
    this.sheet.add(this.sheet.cell(family, labels), 1);
  }
}
