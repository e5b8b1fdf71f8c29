// What the wire API asks of a route's requests without naming a filter: header changes, redirects,
// injected failures, who may use it, how many of them there may be. The filters that a proxy carries do
// it (`proxy/discovery/standard-filters.ts`); nothing here is carried out by the host.

import type { Origin } from "./profile.ts";

/** One thing that is done to each request of a route, or to its response. */
export type RouteAction =
  | HeaderAction
  | RedirectAction
  | FailAction
  | AuthorizeAction
  | RateLimitAction;

/** Gateway API's header modifiers. Names are in lower case; values have one code unit per byte. */
export interface HeaderAction {
  readonly kind: "request-headers" | "response-headers";
  readonly set: Readonly<Record<string, string>>;
  readonly add: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
}

/** Gateway API's redirect; empty texts and port 0 are what is not replaced. */
export interface RedirectAction {
  readonly kind: "redirect";
  readonly scheme: "" | "http" | "https";
  readonly hostname: string;
  readonly port: number;
  readonly path:
    | { readonly replace: "nothing" }
    | { readonly replace: "full"; readonly by: string }
    | { readonly replace: "prefix"; readonly by: string; readonly matched: string };
  readonly status: number;
}

/** A share of the requests, from 0 to 1, is answered with a failure. */
export interface FailAction {
  readonly kind: "fail";
  readonly status: number;
  /** A gRPC call's code; null: not gRPC. */
  readonly grpcStatus: number | null;
  readonly message: string;
  readonly ratio: number;
}

/** Only these clients: rules of `filters/route-policy`. It decides in the place of the server's policy. */
export interface AuthorizeAction {
  readonly kind: "authorize";
  readonly allow: readonly string[];
}

/** Requests per second, 0: no limit. */
export interface RateLimitAction extends RateLimit {
  readonly kind: "rate-limit";
  /** Tells the buckets of one port from those of another. */
  readonly scope: string;
}

/** A server's local rate limit. */
export interface RateLimit {
  readonly total: number;
  /** Of each identity, and of all clients without one together. */
  readonly identity: number;
  /** Identities that have another limit, which those of one entry share. */
  readonly overrides: readonly { readonly limit: number; readonly identities: readonly string[] }[];
  /** The resource that says so, for metrics; absent: not known. */
  readonly origin?: Origin;
}
