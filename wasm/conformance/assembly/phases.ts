// The phases around a request and beside it, and what is counted in them.

import {
  Action,
  chooseEndpoint,
  CONNECT_FAILED,
  connection,
  CONTINUE,
  counter,
  DENY,
  endpointLabel,
  gauge,
  histogram,
  is,
  NEUTRAL,
  NO_RETRY,
  request,
  Retry,
  retry,
  setAttemptTimeout,
  startsWith,
  STATUS_CLASSES,
  statusClass,
  tickEvery,
  TIMED_OUT,
  trailers,
} from "@tulle/filter";

tickEvery(100);

const attempts = counter({ name: "attempts_total", help: "Attempts begun" });
const ended = counter({
  name: "ended_total",
  help: "Requests that ended",
  labels: { by: ["client", "answer"], status_class: STATUS_CLASSES },
});
const took = histogram({ name: "took_ms", help: "How long they took", bounds: [1, 5, 25] });
const open = gauge({ name: "open", help: "Connections that are open" });
const bytes = counter({
  name: "bytes_total",
  help: "Bytes of connections",
  labels: { way: ["in", "out"] },
});
const ticks = counter({ name: "ticks_total", help: "Ticks" });
let connections: f64 = 0;

export function onAttempt(attempt: i32): void {
  attempts.inc();
  if (attempt > 0) {
    setAttemptTimeout(50);
    chooseEndpoint("zone", "spare");
  }
  if (attempt == 9) unreachable();
}

export function onOutcome(status: i32, error: i32, attempt: i32, elapsedMs: f64): Retry {
  if (error & CONNECT_FAILED) return retry(0);
  if (error & TIMED_OUT) return NO_RETRY;
  if (status == 503) return is(endpointLabel("zone"), "west") ? retry(70) : retry(<i32> elapsedMs);
  if (status == 500) return is(request.method(), "GET") ? retry(attempt + 1) : NO_RETRY;
  if (status == 599) return 3; // no opinion
  return NEUTRAL;
}

export function onTrailers(): void {
  if (is(trailers.get("x-sum"), "trap")) {
    trailers.set("x-checked", "half");
    unreachable();
  }
  trailers.set("x-checked", "yes");
  trailers.remove("x-internal");
}

export function onEnd(status: i32, elapsedMs: f64): void {
  ended.inc(status == 0 ? 0 : 1, statusClass(status));
  took.observe(elapsedMs);
}

export function onTick(): void {
  ticks.inc();
}

export function onConnection(): Action {
  if (startsWith(connection.peer(), "evil.")) return DENY;
  open.set(++connections);
  return CONTINUE;
}

export function onConnectionEnd(bytesIn: f64, bytesOut: f64): void {
  open.set(--connections);
  bytes.add(bytesIn, 0);
  bytes.add(bytesOut, 1);
}
