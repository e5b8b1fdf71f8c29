// `outbound_<http|tcp|tls>_balancer_…` of one backend of a target: its endpoints, what became of its set,
// who waited for it, and the gate that shuts when nobody is there. What only grows is counted as it
// happens; the rest is written when somebody scrapes.

import { type Family, formatLabels, type Labels, type SeriesGroup } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** What is carried to the endpoints. */
export type BalancerKind = "http" | "tcp" | "tls";

/** What happened to a set of endpoints. */
export type UpdateOp = "Reset" | "Add" | "Remove" | "DoesNotExist";

/** Upper bounds in seconds, of waiting and of the gate's times. */
const WAIT_SECONDS = [0.0005, 0.005, 0.05, 0.5, 1, 3];
const GATE_SECONDS = [0.1, 1, 10, 60, 600];

/** What is true of a backend now. */
export interface BalancerState {
  /** What happened to its set since the target began. */
  readonly updates: Readonly<Record<UpdateOp, number>>;
  readonly ready: number;
  /** Known, and not to be picked: unreachable or ejected. */
  readonly pending: number;
  /** Requests and connections that wait. */
  readonly waiting: number;
}

/** One backend's balancer. */
export class BalancerSeries {
  readonly #m: ProxyMetrics;
  readonly #labels: Labels;
  readonly #key: string;
  readonly #timeoutMs: number;
  readonly #f: Readonly<
    Record<
      | "endpoints"
      | "p2c"
      | "updates"
      | "length"
      | "requests"
      | "latency"
      | "opens"
      | "shuts"
      | "openTime"
      | "shutTime"
      | "timeout",
      Family
    >
  >;
  /** Null: nothing came yet, so that nothing is shown. */
  #group: SeriesGroup | null = null;
  #requests = -1;
  #latency = -1;
  /** When the gate was opened or shut, by the driver's clock. */
  #sinceMs: number;
  #isShut = false;

  /** `labels`: `parent_…` and `backend_…`; `timeoutMs`: how long is waited before the gate shuts. */
  constructor(
    metrics: ProxyMetrics,
    kind: BalancerKind,
    labels: Labels,
    timeoutMs: number,
    nowMs: number,
  ) {
    const { sheet } = metrics;
    const family = (name: string, type: Family["type"], help: string, bounds?: readonly number[]) =>
      sheet.family(`outbound_${kind}_balancer_${name}`, type, help, bounds);
    this.#m = metrics;
    this.#labels = labels;
    this.#timeoutMs = timeoutMs;
    this.#sinceMs = nowMs;
    this.#key = `balancer ${kind} ${formatLabels(labels)}`;
    this.#f = {
      endpoints: family("endpoints", "gauge", "Endpoints by whether they may be picked"),
      p2c: family("p2c_endpoints", "gauge", "Endpoints that are drawn from"),
      updates: family("p2c_updates_total", "counter", "Changes of the set of endpoints"),
      length: family("queue_length", "gauge", "Requests or connections that wait"),
      requests: family("queue_requests_total", "counter", "Requests or connections that came"),
      latency: family(
        "queue_latency_seconds",
        "histogram",
        "How long requests or connections waited for an endpoint",
        WAIT_SECONDS,
      ),
      opens: family("queue_gate_open_total", "counter", "Times that the gate was opened"),
      shuts: family("queue_gate_shut_total", "counter", "Times that the gate was shut"),
      openTime: family(
        "queue_gate_open_time_seconds",
        "histogram",
        "How long the gate was open each time",
        GATE_SECONDS,
      ),
      shutTime: family(
        "queue_gate_shut_time_seconds",
        "histogram",
        "How long the gate was shut each time",
        GATE_SECONDS,
      ),
      timeout: family("queue_gate_timeout_seconds", "gauge", "How long is waited before it shuts"),
    };
  }

  #live(): SeriesGroup {
    if (this.#group !== null && this.#group.live) return this.#group;
    const group = this.#m.sheet.group(this.#key);
    this.#requests = group.cell(this.#f.requests, this.#labels);
    this.#latency = group.cell(this.#f.latency, this.#labels);
    this.#group = group;
    return group;
  }

  /** A request or connection came, and is counted when it is known how long it waited. */
  came(): void {
    this.#live();
  }

  /** A request or connection found an endpoint at once. */
  passed(): void {
    this.#live();
    const { sheet } = this.#m;
    sheet.add(this.#requests, 1);
    sheet.add(this.#latency, 1); // the first bucket
  }

  /** It found one after a while, or gave up. */
  waited(ms: number): void {
    this.#live();
    const { sheet } = this.#m;
    sheet.add(this.#requests, 1);
    sheet.observe(this.#f.latency, this.#latency, ms / 1000);
  }

  /** Whether requests fail at once now. Target rate; nothing happens when it was so before. */
  gate(isShut: boolean, nowMs: number): void {
    if (isShut === this.#isShut) return;
    const { opens, shuts, openTime, shutTime } = this.#f;
    const was = isShut ? openTime : shutTime;
    const { sheet } = this.#m;
    const group = this.#live();
    sheet.observe(was, group.cell(was, this.#labels), (nowMs - this.#sinceMs) / 1000);
    sheet.add(group.cell(isShut ? shuts : opens, this.#labels), 1);
    this.#isShut = isShut;
    this.#sinceMs = nowMs;
  }

  /** Writes what is true now; null: the target is gone. */
  observe(state: BalancerState | null): void {
    if (this.#group === null || (state === null && !this.#group.live)) return;
    const group = this.#live();
    const { sheet } = this.#m;
    const { endpoints, p2c, length, timeout, updates } = this.#f;
    const { ready, pending, waiting } = state ?? { ready: 0, pending: 0, waiting: 0 };
    const set = (family: Family, value: number, more: Labels = {}) =>
      sheet.set(group.cell(family, { ...this.#labels, ...more }), value);
    set(endpoints, ready, { endpoint_state: "ready" });
    set(endpoints, pending, { endpoint_state: "pending" });
    set(p2c, ready + pending);
    set(length, waiting);
    set(timeout, state === null ? 0 : this.#timeoutMs / 1000);
    for (const [op, times] of Object.entries(state?.updates ?? {})) {
      if (times > 0) set(updates, times, { op });
    }
  }
}
