// Retries of a policy's rule ↔ outbound.proto `HttpRoute.Retry` and `GrpcRoute.Retry`. The values are
// cut to what `filters/retry` takes, which carries them out.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { GrpcCode, RouteRetry } from "../model/route.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import type {
  GrpcRoute_Retry_Conditions,
  GrpcRoute_RetrySchema,
  HttpRoute_Retry as WireRetry,
  HttpRoute_RetrySchema,
} from "./gen/outbound_pb.ts";
import { WireError } from "./wire-error.ts";

/** The reference's, where a message leaves them out. */
const DEFAULT_BACKOFF = { minMs: 25, maxMs: 250, jitter: 1 };

/** Bounds of `filters/retry`. */
const MAX_RETRIES = 10;
const MAX_BACKOFF_MS = 10_000;
const MAX_ATTEMPT_MS = 600_000;
const MAX_STATUS_RANGES = 64;

/** What the reference's controller sends. */
const RETRY_REQUEST_BYTES = 64 * 1024;

/** Null: no retries. What is over the bounds of the standard filter is cut to them. */
export function retryFromWire(
  wire: Pick<WireRetry, "maxRetries" | "timeout" | "backoff"> | undefined,
  ranges: readonly { readonly start: number; readonly end: number }[],
  field: string,
  grpc?: readonly GrpcCode[],
): RouteRetry | null {
  if (wire === undefined || wire.maxRetries === 0) return null;
  const ms = (d: Duration | undefined, name: string, absent: number, max: number) =>
    Math.min(max, d === undefined ? absent : durationFromWire(d, `${field}.${name}`));
  const { backoff } = wire;
  const jitter = backoff?.jitterRatio ?? DEFAULT_BACKOFF.jitter;
  if (!(jitter >= 0)) throw new WireError(`${field}.backoff.jitter_ratio`, `is ${jitter}`);
  const { minBackoff, maxBackoff } = backoff ?? {};
  const minMs = ms(minBackoff, "backoff.min_backoff", DEFAULT_BACKOFF.minMs, MAX_BACKOFF_MS);
  const maxMs = ms(maxBackoff, "backoff.max_backoff", DEFAULT_BACKOFF.maxMs, MAX_BACKOFF_MS);
  return {
    statuses: ranges.slice(0, MAX_STATUS_RANGES).map(({ start, end }) => {
      if (start > end) throw new WireError(`${field}.conditions`, `has the range ${start}-${end}`);
      return { min: Math.max(start, 100), max: Math.min(end, 599) };
    }).filter(({ min, max }) => min <= max),
    ...(grpc === undefined ? {} : { grpc }),
    maxRetries: Math.min(wire.maxRetries, MAX_RETRIES),
    attemptTimeoutMs: ms(wire.timeout, "timeout", 0, MAX_ATTEMPT_MS),
    backoff: {
      minMs,
      maxMs: Math.max(minMs, maxMs),
      // The wire's float is not exactly what was written.
      jitter: Number(Math.min(jitter, 1).toPrecision(7)),
    },
  };
}

/** The codes that a gRPC rule's conditions name. */
export function grpcCodesFromWire(
  wire: GrpcRoute_Retry_Conditions | undefined,
): readonly GrpcCode[] {
  if (wire === undefined) return [];
  const codes: GrpcCode[] = [];
  if (wire.cancelled) codes.push("cancelled");
  if (wire.deadineExceeded) codes.push("deadline-exceeded");
  if (wire.resourceExhausted) codes.push("resource-exhausted");
  if (wire.internal) codes.push("internal");
  if (wire.unavailable) codes.push("unavailable");
  return codes;
}

/** The message; a policy of the profile kind, whose statuses are its classes, has no other form. */
export function retryToWire(retry: RouteRetry): MessageInitShape<typeof HttpRoute_RetrySchema> {
  const statusRanges = (retry.statuses ?? []).map((r) => ({ start: r.min, end: r.max }));
  return { ...commonToWire(retry), conditions: { statusRanges } };
}

/** The same for gRPC: codes in the place of statuses. */
export function grpcRetryToWire(
  retry: RouteRetry,
): MessageInitShape<typeof GrpcRoute_RetrySchema> {
  const has = (code: GrpcCode) => retry.grpc?.includes(code) ?? false;
  return {
    ...commonToWire(retry),
    conditions: {
      cancelled: has("cancelled"),
      deadineExceeded: has("deadline-exceeded"),
      resourceExhausted: has("resource-exhausted"),
      internal: has("internal"),
      unavailable: has("unavailable"),
    },
  };
}

/** Beside its conditions, which proxies of the reference require, be they empty. */
function commonToWire({ maxRetries, attemptTimeoutMs, backoff }: RouteRetry) {
  const { minMs, maxMs, jitter } = backoff;
  return {
    maxRetries,
    maxRequestBytes: RETRY_REQUEST_BYTES,
    ...(attemptTimeoutMs === 0 ? {} : { timeout: durationToWire(attemptTimeoutMs) }),
    backoff: {
      minBackoff: durationToWire(minMs),
      maxBackoff: durationToWire(maxMs),
      jitterRatio: jitter,
    },
  };
}
