// Retry: decides after each attempt whether there is another, and after how long; and how long an
// attempt may take while another can follow.

import {
  config,
  CONNECT_FAILED,
  CONNECTION_RESET,
  counter,
  grpcStatus,
  is,
  length,
  NEUTRAL,
  random,
  request,
  Retry,
  retry,
  setAttemptTimeout,
  Text,
  toInt,
} from "@tulle/filter";
import { durationMs, hasCode, hasStatus } from "./asked";

const statuses = config.statuses("statuses", "502-504");
const maxRetries = config.int("maxRetries", 2, 0, 10);
const backoffMs = config.int("backoffMs", 10, 0, 10000);
const maxBackoffMs = config.int("maxBackoffMs", 10000, 0, 10000);
const attemptTimeoutMs = config.int("attemptTimeoutMs", 0, 0, 600000);
const jitter = config.number("jitter", 0.5, 0, 1);
const anyMethod = config.flag("anyMethod", false);
const grpc = config.list("grpc", 16);
const requestHeaders = config.flag("requestHeaders", false);

const CONNECT = 0, RESET = 1, STATUS = 2, TIMEOUT = 3, GRPC = 4;
const decided = counter({
  name: "retry_decisions_total",
  help: "Retries asked for, by what went wrong with the attempt",
  labels: { reason: ["connect", "reset", "status", "timeout", "grpc"] },
});

const LIMIT = 0, METHOD = 1;
const skipped = counter({
  name: "retry_skipped_total",
  help: "Failed attempts that are not repeated, by why: the limit of retries, or the method",
  labels: { reason: ["limit", "method"] },
});

export function configure(): void {
  for (let i = 0; i < grpc.length; i++) {
    if (codeOf(grpc.at(i)) == 0) config.refuse("grpc", "has a name that is no code to retry");
  }
}

/** The last attempt has all the time that is left. */
export function onAttempt(attempt: i32): void {
  if (!requestHeaders) {
    if (attemptTimeoutMs > 0) setAttemptTimeout(attempt < maxRetries ? attemptTimeoutMs : 0);
    return;
  }
  const limitMs = durationMs(request.header("l5d-retry-timeout"), attemptTimeoutMs);
  if (limitMs > 0) setAttemptTimeout(attempt < limit() ? limitMs : 0);
}

export function onOutcome(status: i32, error: i32, attempt: i32): Retry {
  let reason: i32;
  if (error & CONNECT_FAILED) {
    reason = CONNECT; // the server saw nothing: safe for any method
  } else if (error == 0 && isGrpcFailure()) {
    reason = GRPC; // named in the configuration: whoever did so knows the methods
  } else {
    if (error == 0 && !isWanted(status)) return NEUTRAL;
    if (!anyMethod && !isIdempotent()) return no(METHOD);
    reason = error == 0 ? STATUS : error & CONNECTION_RESET ? RESET : TIMEOUT;
  }
  if (attempt >= limit()) return no(LIMIT);
  decided.inc(reason);
  return retry(delay(attempt));
}

function no(why: i32): Retry {
  skipped.inc(why);
  return NEUTRAL;
}

/** How many retries there may be. A request that asks for them in any way has one where the route has none. */
function limit(): i32 {
  if (!requestHeaders) return maxRetries;
  const asked = toInt(request.header("l5d-retry-limit"), -1);
  if (asked >= 0) return min(asked, 10);
  if (maxRetries > 0) return maxRetries;
  const asks = length(request.header("l5d-retry-http")) +
    length(request.header("l5d-retry-grpc")) + length(request.header("l5d-retry-timeout"));
  return asks > 0 ? 1 : 0;
}

/** Whether a response with this status is tried again: by what the request says, else the route. */
function isWanted(status: i32): bool {
  if (!requestHeaders) return statuses.has(status);
  const written = request.header("l5d-retry-http");
  return length(written) > 0 ? hasStatus(written, status) : statuses.has(status);
}

/** Whether the call ended with one of the codes that the request names, else with one of the route's. */
function isGrpcFailure(): bool {
  const code = grpcStatus();
  if (code <= 0) return false;
  if (requestHeaders) {
    const written = request.header("l5d-retry-grpc");
    if (length(written) > 0) return hasCode(written, code);
  }
  for (let i = 0; i < grpc.length; i++) {
    if (codeOf(grpc.at(i)) == code) return true;
  }
  return false;
}

function codeOf(name: Text): i32 {
  if (is(name, "cancelled")) return 1;
  if (is(name, "unknown")) return 2;
  if (is(name, "deadline-exceeded")) return 4;
  if (is(name, "permission-denied")) return 7;
  if (is(name, "resource-exhausted")) return 8;
  if (is(name, "aborted")) return 10;
  if (is(name, "internal")) return 13;
  if (is(name, "unavailable")) return 14;
  if (is(name, "data-loss")) return 15;
  return 0;
}

/** Doubles with each attempt up to the bound, and is spread so that clients do not return together. */
function delay(attempt: i32): i32 {
  const doubled = <f64> backoffMs * <f64> (1 << attempt);
  const base = doubled < <f64> maxBackoffMs ? doubled : <f64> maxBackoffMs;
  return <i32> (base * (1 - jitter * random()));
}

/** RFC 9110 §9.2.2. */
function isIdempotent(): bool {
  const method = request.method();
  switch (length(method)) { // a comparison costs more than all the rest
    case 3:
      return is(method, "GET") || is(method, "PUT");
    case 4:
      return is(method, "HEAD");
    case 5:
      return is(method, "TRACE");
    case 6:
      return is(method, "DELETE");
    default:
      return is(method, "OPTIONS");
  }
}
