// Timeout: how long a request may take, and each attempt of it; a gRPC client's own deadline, too, and
// what the application asks for in headers.

import {
  Action,
  byteAt,
  config,
  CONTINUE,
  length,
  Limit,
  request,
  setAttemptTimeout,
  setLimit,
  Text,
} from "@tulle/filter";

const requestMs = config.int("requestMs", 0, 0, 2147483647);
const exchangeMs = config.int("exchangeMs", 0, 0, 2147483647);
const responseMs = config.int("responseMs", 0, 0, 2147483647);
const idleMs = config.int("idleMs", 0, 0, 2147483647);
const attemptMs = config.int("attemptMs", 0, 0, 3600000);
const grpcDeadline = config.flag("grpcDeadline", false);
const requestHeaders = config.flag("requestHeaders", false);

export function onRequest(): Action {
  let headMs = requestMs;
  if (grpcDeadline) {
    const deadlineMs = grpcTimeoutMs();
    if (deadlineMs > 0 && (headMs == 0 || deadlineMs < headMs)) headMs = deadlineMs;
  }
  let wholeMs = exchangeMs;
  let endMs = responseMs;
  if (requestHeaders) {
    // The longer name is the one that counts; what cannot be read is as if it were not there.
    wholeMs = durationMs(request.header("l5d-timeout"), wholeMs);
    wholeMs = durationMs(request.header("l5d-request-timeout"), wholeMs);
    endMs = durationMs(request.header("l5d-response-timeout"), endMs);
  }
  if (headMs > 0) setLimit(Limit.Head, headMs);
  if (wholeMs > 0) setLimit(Limit.Exchange, wholeMs);
  if (endMs > 0) setLimit(Limit.Response, endMs);
  if (idleMs > 0) setLimit(Limit.Idle, idleMs);
  if (attemptMs > 0) setAttemptTimeout(attemptMs);
  return CONTINUE;
}

/** A whole number with `ms`, `s`, `m`, `h` or `d`; only 0 may be without. */
function durationMs(written: Text, otherwise: i32): i32 {
  const end = length(written);
  let value: f64 = 0;
  let at = 0;
  for (; at < end; at++) {
    const digit = byteAt(written, at) - 0x30;
    if (<u32> digit > 9) break;
    value = value * 10 + <f64> digit;
  }
  if (at == 0 || at > 12) return otherwise;
  const unit = byteAt(written, at);
  let ms: f64;
  if (at == end) {
    if (value > 0) return otherwise;
    ms = 0;
  } else if (unit == 0x6d && at + 2 == end && byteAt(written, at + 1) == 0x73) ms = 1; // ms
  else if (at + 1 != end) return otherwise;
  else if (unit == 0x73) ms = 1000; // s
  else if (unit == 0x6d) ms = 60000; // m
  else if (unit == 0x68) ms = 3600000; // h
  else if (unit == 0x64) ms = 86400000; // d
  else return otherwise;
  return <i32> Math.min(value * ms, 2147483647);
}

/** `grpc-timeout`: at most eight digits and a unit. Rounded up; 0: none, or not well-formed. */
function grpcTimeoutMs(): i32 {
  const written = request.header("grpc-timeout");
  const digits = length(written) - 1;
  if (digits < 1 || digits > 8) return 0;
  let value: f64 = 0;
  for (let i = 0; i < digits; i++) {
    const digit = byteAt(written, i) - 0x30;
    if (<u32> digit > 9) return 0;
    value = value * 10 + <f64> digit;
  }
  const ms = value * msOf(byteAt(written, digits));
  return ms <= 0 ? 0 : <i32> Math.min(Math.ceil(ms), 3600000);
}

function msOf(unit: i32): f64 {
  if (unit == 0x48) return 3600000; // H
  if (unit == 0x4d) return 60000; // M
  if (unit == 0x53) return 1000; // S
  if (unit == 0x6d) return 1; // m
  if (unit == 0x75) return 0.001; // u
  return unit == 0x6e ? 0.000001 : 0; // n
}
