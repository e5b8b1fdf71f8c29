// Timeout: how long a request may take, and each attempt of it; a gRPC client's own deadline, too.

import {
  Action,
  byteAt,
  config,
  CONTINUE,
  length,
  request,
  setAttemptTimeout,
} from "@tulle/filter";

const requestMs = config.int("requestMs", 0, 0, 3600000);
const attemptMs = config.int("attemptMs", 0, 0, 3600000);
const grpcDeadline = config.flag("grpcDeadline", false);

export function onRequest(): Action {
  let limitMs = requestMs;
  if (grpcDeadline) {
    const deadlineMs = grpcTimeoutMs();
    if (deadlineMs > 0 && (limitMs == 0 || deadlineMs < limitMs)) limitMs = deadlineMs;
  }
  if (limitMs > 0) request.setTimeout(limitMs);
  if (attemptMs > 0) setAttemptTimeout(attemptMs);
  return CONTINUE;
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
