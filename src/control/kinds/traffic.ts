// Retries and time-outs of a Service, from its annotations (`retry.linkerd.io/…`, `timeout.linkerd.io/…`):
// what clients do on its default route. Linkerd's grammar and defaults.

import type { GrpcCode, RouteRetry, StatusRange } from "../../model/route.ts";
import type { Field } from "../field.ts";
import { wireDuration } from "./accrual.ts";

/** Linkerd's back-off, which no annotation changes. */
const BACKOFF: RouteRetry["backoff"] = { minMs: 25, maxMs: 250, jitter: 1 };
/** As many as the retry filter makes. */
const MAX_RETRIES = 10;

/** What clients do with requests to a Service. */
export interface Traffic {
  /** Null: nothing is tried again. */
  readonly retry: RouteRetry | null;
  /** For the whole request; 0: none. */
  readonly timeoutMs: number;
}

/** Raises a `FieldError` for what cannot be read. */
export function trafficOf(annotations: Field): Traffic {
  return { retry: retryOf(annotations), timeoutMs: timeoutOf(annotations) };
}

/** Null unless one of the annotations is there. Without conditions no status is tried again. */
function retryOf(annotations: Field): RouteRetry | null {
  const of = (name: string) => annotations.at(`retry.linkerd.io/${name}`);
  const [http, grpc, limit, timeout] = [of("http"), of("grpc"), of("limit"), of("timeout")];
  if ([http, grpc, limit, timeout].every((f) => f.isAbsent)) return null;
  return {
    statuses: http.isAbsent
      ? []
      : http.string().split(",").map((text) => rangeOf(http, text.trim())),
    grpc: grpc.isAbsent ? [] : grpc.string().split(",").map((text) => codeOf(grpc, text.trim())),
    maxRetries: limitOf(limit),
    attemptTimeoutMs: timeout.isAbsent ? 0 : wireDuration(timeout, 0),
    backoff: BACKOFF,
  };
}

/** `5xx`, `gateway-error`, `NNN` or `NNN-MMM`. */
function rangeOf(field: Field, text: string): StatusRange {
  if (text === "5xx") return { min: 500, max: 599 };
  if (text === "gateway-error") return { min: 502, max: 504 };
  const m = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(text);
  const min = Number(m?.[1]);
  const max = Number(m?.[2] ?? m?.[1]);
  if (m === null || min > max) {
    return field.fail(
      `holds ${JSON.stringify(text.slice(0, 40))}: write 5xx, gateway-error, NNN or NNN-MMM`,
    );
  }
  return { min, max };
}

/** Those that the API has a place for. They count on a gRPC route; a Service has none of its own. */
const CODES = [
  "cancelled",
  "deadline-exceeded",
  "internal",
  "resource-exhausted",
  "unavailable",
] as const;

function codeOf(field: Field, text: string): GrpcCode {
  return CODES.find((code) => code === text) ??
    field.fail(`holds ${JSON.stringify(text.slice(0, 40))}: write one of ${CODES.join(", ")}`);
}

/** 1 unless set; 0 is as if unset. */
function limitOf(field: Field): number {
  if (field.isAbsent) return 1;
  const text = field.string();
  if (!/^\d{1,6}$/.test(text)) field.fail(`is ${JSON.stringify(text)}, not a number of retries`);
  return Math.min(MAX_RETRIES, Number(text) || 1);
}

/** The shorter of request and response: a route knows one time-out. Idle streams are not ended. */
function timeoutOf(annotations: Field): number {
  const set = ["request", "response"]
    .map((name) => wireDuration(annotations.at(`timeout.linkerd.io/${name}`), 0))
    .filter((ms) => ms > 0);
  return set.length === 0 ? 0 : Math.min(...set);
}
