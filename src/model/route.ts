// Requests matched to routes, and responses to classes: values, and the functions over them.
// Both the ServiceProfile's conditions and the policy's HTTPRoute matches end as `RequestMatch`.

import type { FilterRef } from "../core/filter.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Origin } from "./profile.ts";
import type { RouteAction } from "./route-action.ts";
import type { SniMatch } from "./sni.ts";

/** A condition on a request. Regular expressions match the whole value. */
export type RequestMatch =
  | { readonly kind: "all"; readonly of: readonly RequestMatch[] }
  | { readonly kind: "any"; readonly of: readonly RequestMatch[] }
  | { readonly kind: "not"; readonly of: RequestMatch }
  | { readonly kind: "path-regex"; readonly regex: RegExp }
  | { readonly kind: "path-exact"; readonly path: string }
  | { readonly kind: "path-prefix"; readonly prefix: string }
  | { readonly kind: "method"; readonly method: string }
  | {
    /** `query`: the first parameter of that name, decoded. */
    readonly kind: "header" | "query";
    readonly name: string;
    readonly exact: string | null;
    readonly regex: RegExp | null;
  };

/** Statuses, both ends included. */
export interface StatusRange {
  readonly min: number;
  readonly max: number;
}

/** A ServiceProfile response class: the first that matches says failure or success. */
export interface ResponseClass {
  readonly match: ResponseMatch;
  readonly isFailure: boolean;
}
export type ResponseMatch =
  | { readonly kind: "all"; readonly of: readonly ResponseMatch[] }
  | { readonly kind: "any"; readonly of: readonly ResponseMatch[] }
  | { readonly kind: "not"; readonly of: ResponseMatch }
  | { readonly kind: "status"; readonly range: StatusRange };

/** One route of a destination. Every rule of a policy's route is one of these. */
export interface Route {
  /** For metrics and people: the ServiceProfile route's name, or the HTTPRoute's. */
  readonly name: string;
  readonly match: RequestMatch;
  readonly responseClasses: readonly ResponseClass[];
  /** ServiceProfile labels, `route` among them; exported with the prefix `rt_`. */
  readonly labels: Readonly<Record<string, string>>;
  /** What the wire asks for without naming a filter; null: nothing. Filters that decide come first. */
  readonly retry: RouteRetry | null;
  /** Until the response head; 0: none. The standard time-out filter carries it out, and `limits`. */
  readonly timeoutMs: number;
  /** Time-outs that go on after the response's head; absent: none. */
  readonly limits?: RouteLimits;
  /** Requests may say in `l5d-…` headers how long they take and how they are tried again. */
  readonly takesRequestHeaders?: boolean;
  /** What the wire asks for without naming a filter, in its order; it comes before `filters`. */
  readonly actions?: readonly RouteAction[];
  /** Where its requests go when that is not the target's one destination. */
  readonly split?: RouteSplit;
  /** How many routes before it in its list are its variants: one for each backend of its split, with what
   * is done to the requests of that backend only. They match nothing themselves. Absent: it has none. */
  readonly variants?: number;
  /** Of TLS that passes through: for clients that ask for such a name; absent: not of TLS. */
  readonly snis?: readonly SniMatch[];
  /** Of bytes: why connections that take it are refused; absent: they are not. */
  readonly refuses?: "forbidden" | "invalid";
  /** In order of execution. */
  readonly filters: readonly FilterRef[];
  /** The resource that it is a rule of, for metrics; absent: a default of this name. */
  readonly origin?: Origin;
  /** The wildcard of names that its host is, such as `*.example.com`; absent: no wildcard. */
  readonly wildcard?: string;
  /** It is one of gRPC calls; absent: of HTTP requests. */
  readonly isGrpc?: boolean;
}

/** Time-outs of a policy's route, in milliseconds; 0: none. */
export interface RouteLimits {
  /** Of the whole exchange, retries and bodies included. */
  readonly requestMs: number;
  /** From the end of the request to the end of the response. */
  readonly responseMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
}

/** Traffic over several destinations, each with its own endpoints and balancer. */
export interface RouteSplit {
  /** By weight, or the first; in both cases of those that have an endpoint. */
  readonly pick: "random" | "first";
  /** `authority` is a `Destination/Get` path, or names `forward`; empty: requests that it gets fail. */
  readonly backends: readonly SplitBackend[];
}

/** One of the destinations. */
export interface SplitBackend {
  readonly authority: string;
  readonly weight: number;
  /** The one address behind it; absent: they come from the path. */
  readonly forward?: Endpoint;
  /** What leads there, for metrics; absent: a default. */
  readonly origin?: Origin;
  /** Where there is no such backend, what the control plane says of it; absent: nothing. */
  readonly fails?: string;
}

/** Codes of gRPC that a retry may be asked for, as the retry filter writes them. */
export type GrpcCode =
  | "cancelled"
  | "unknown"
  | "deadline-exceeded"
  | "permission-denied"
  | "resource-exhausted"
  | "internal"
  | "unavailable"
  | "data-loss";

/** Retries that are part of the wire API. The standard retry filter decides them. */
export interface RouteRetry {
  /** Statuses that are tried again; null: those that the route's classes call failures. */
  readonly statuses: readonly StatusRange[] | null;
  /** Codes of gRPC calls that are tried again; absent: none. */
  readonly grpc?: readonly GrpcCode[];
  /** After the first attempt. */
  readonly maxRetries: number;
  /** How long an attempt may take to its head, but for the last one; 0: as long as the request. */
  readonly attemptTimeoutMs: number;
  readonly backoff: { readonly minMs: number; readonly maxMs: number; readonly jitter: number };
}

/**
 * What `isRetryable` of a ServiceProfile means: every failure of any method, as far as the budget
 * goes. Linkerd retries at once and without end; here a short pause spares an endpoint that just failed.
 */
export const PROFILE_RETRY: RouteRetry = {
  statuses: null,
  // Linkerd's default of what is a failure
  grpc: [
    "unknown",
    "deadline-exceeded",
    "permission-denied",
    "internal",
    "unavailable",
    "data-loss",
  ],
  maxRetries: 10,
  attemptTimeoutMs: 0,
  backoff: { minMs: 5, maxMs: 100, jitter: 0.5 },
};

/** How many retries may be added to a destination's traffic. */
export interface RetryBudget {
  /** Retries per first attempt. */
  readonly ratio: number;
  readonly minPerSecond: number;
  readonly ttlMs: number;
}

/** Linkerd's defaults. */
export const DEFAULT_RETRY_BUDGET: RetryBudget = { ratio: 0.2, minPerSecond: 10, ttlMs: 10_000 };

/** What a match may ask of a request. */
export interface RequestView {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  header(name: string): string | null;
}

/** Evaluates a condition. Query parameters are not part of the path that is matched. */
export function matches(match: RequestMatch, request: RequestView): boolean {
  switch (match.kind) {
    case "all":
      return match.of.every((m) => matches(m, request));
    case "any":
      return match.of.some((m) => matches(m, request));
    case "not":
      return !matches(match.of, request);
    case "method":
      return match.method === request.method;
    case "header":
    case "query": {
      const value = match.kind === "header"
        ? request.header(match.name)
        : queryValue(request.path, match.name);
      if (value === null) return false;
      return match.exact !== null ? value === match.exact : match.regex?.test(value) ?? false;
    }
    default: {
      const cut = request.path.indexOf("?");
      const path = cut < 0 ? request.path : request.path.slice(0, cut);
      if (match.kind === "path-exact") return path === match.path;
      if (match.kind === "path-regex") return match.regex.test(path);
      const prefix = match.prefix.endsWith("/") ? match.prefix.slice(0, -1) : match.prefix;
      return path.startsWith(prefix) &&
        (path.length === prefix.length || path[prefix.length] === "/");
    }
  }
}

function queryValue(path: string, name: string): string | null {
  const cut = path.indexOf("?");
  return cut < 0 ? null : new URLSearchParams(path.slice(cut + 1)).get(name);
}

/** Whether a status counts as a failure: the route's classes first, then 5xx. */
export function isFailure(status: number, classes: readonly ResponseClass[]): boolean {
  for (const c of classes) {
    if (matchesResponse(c.match, status)) return c.isFailure;
  }
  return status >= 500;
}

function matchesResponse(match: ResponseMatch, status: number): boolean {
  switch (match.kind) {
    case "all":
      return match.of.every((m) => matchesResponse(m, status));
    case "any":
      return match.of.some((m) => matchesResponse(m, status));
    case "not":
      return !matchesResponse(match.of, status);
    case "status":
      return status >= match.range.min && status <= match.range.max;
  }
}
