// Retries and time-outs from annotations (`retry.linkerd.io/…`, `timeout.linkerd.io/…`) of a Service, for
// its default route, and of a route, for its rules. Linkerd's grammar and defaults.

import type { GrpcCode, RouteLimits, RouteRetry, StatusRange } from "../../model/route.ts";
import type { Field } from "../field.ts";
import { wireDuration } from "./accrual.ts";

/** Linkerd's back-off, which no annotation changes. */
const BACKOFF: RouteRetry["backoff"] = { minMs: 25, maxMs: 250, jitter: 1 };
/** As many as the retry filter makes. */
const MAX_RETRIES = 10;

/** What clients do with requests to a Service, or by a route. */
export interface Traffic {
  /** Of HTTP requests; null: nothing is tried again. */
  readonly retry: RouteRetry | null;
  /** Of gRPC calls, whose annotation is another. */
  readonly grpcRetry: RouteRetry | null;
  /** Null: no annotation says anything. All of them 0: they say that there is none. */
  readonly limits: RouteLimits | null;
}

/** Raises a `FieldError` for what cannot be read. */
export function trafficOf(annotations: Field): Traffic {
  const of = (name: string) => annotations.at(`retry.linkerd.io/${name}`);
  const [http, grpc] = [of("http"), of("grpc")];
  const maxRetries = limitOf(of("limit"));
  const attemptTimeoutMs = wireDuration(of("timeout"), 0);
  const shared = maxRetries > 0 || attemptTimeoutMs > 0;
  const common = { maxRetries: maxRetries || 1, attemptTimeoutMs, backoff: BACKOFF };
  const listed = <T>(field: Field, read: (field: Field, text: string) => T): readonly T[] =>
    field.isAbsent ? [] : field.string().split(",").map((text) => read(field, text.trim()));
  const statuses = listed(http, rangeOf);
  const codes = listed(grpc, codeOf);
  return {
    // Without conditions nothing is tried again, but Linkerd's message is there all the same.
    retry: shared || !http.isAbsent ? { ...common, statuses } : null,
    grpcRetry: shared || !grpc.isAbsent ? { ...common, statuses: [], grpc: codes } : null,
    limits: limitsOf(annotations),
  };
}

/** `5xx`, `gateway-error`, `NNN` or `NNN-MMM`. */
function rangeOf(field: Field, written: string): StatusRange {
  const text = written.toLowerCase();
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

/** Those that the API has a place for. They count on a gRPC route. */
const CODES = [
  "cancelled",
  "deadline-exceeded",
  "internal",
  "resource-exhausted",
  "unavailable",
] as const;

function codeOf(field: Field, text: string): GrpcCode {
  return CODES.find((code) => code === text.toLowerCase()) ??
    field.fail(`holds ${JSON.stringify(text.slice(0, 40))}: write one of ${CODES.join(", ")}`);
}

/** 0: not set. */
function limitOf(field: Field): number {
  if (field.isAbsent) return 0;
  const text = field.string();
  if (!/^\d{1,6}$/.test(text)) field.fail(`is ${JSON.stringify(text)}, not a number of retries`);
  return Math.min(MAX_RETRIES, Number(text));
}

function limitsOf(annotations: Field): RouteLimits | null {
  const [request, response, idle] = ["request", "response", "idle"].map((name) =>
    annotations.at(`timeout.linkerd.io/${name}`)
  ) as [Field, Field, Field];
  if ([request, response, idle].every((f) => f.isAbsent)) return null;
  return {
    requestMs: wireDuration(request, 0),
    responseMs: wireDuration(response, 0),
    idleMs: wireDuration(idle, 0),
  };
}
