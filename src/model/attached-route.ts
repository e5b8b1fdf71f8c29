// Routes of objects (HTTPRoute, GRPCRoute) as a control plane sends them: whole rules, as they were
// written, while a proxy works with the flat routes of `route.ts` that it reads from the wire.

import type { FilterRef } from "../core/filter.ts";
import type { HashKey } from "./hash-key.ts";
import type { Authorization } from "./policy.ts";
import type { Origin } from "./profile.ts";
import type { HeaderAction } from "./route-action.ts";
import type { RequestMatch, RouteLimits, RouteRetry } from "./route.ts";

/** Which gRPC calls; an empty name is any. Headers are conditions of the kind `header`. */
export interface GrpcMatch {
  readonly service: string;
  readonly method: string;
  readonly headers: readonly RequestMatch[];
}

/** Gateway API's redirect; empty texts and port 0 are what is not replaced. */
export interface RouteRedirect {
  readonly kind: "redirect";
  readonly scheme: "" | "http" | "https";
  readonly hostname: string;
  readonly port: number;
  /** Null: the path stays. */
  readonly path: { readonly replace: "full" | "prefix"; readonly by: string } | null;
  readonly status: number;
}

/** What is done to the requests of a rule, or of one of its backends. */
export type RouteFilter = HeaderAction | RouteRedirect;

/** Where a share of a rule's requests goes. */
export interface AttachedBackend {
  readonly weight: number;
  /** What it was called, for metrics; of kind `default` where it names nothing. */
  readonly origin: Origin;
  readonly to:
    /** A `Destination/Get` path. */
    | { readonly kind: "balancer"; readonly destination: string; readonly hash: HashKey | null }
    /** The policy's own destination. */
    | { readonly kind: "parent" }
    /** Requests that it gets are answered with a failure of this text. */
    | { readonly kind: "invalid"; readonly message: string };
  readonly filters: readonly RouteFilter[];
}

/** A rule of an outbound policy's route. */
export interface AttachedRule<Match> {
  /** One of them must hold; none: every request. */
  readonly matches: readonly Match[];
  readonly filters: readonly RouteFilter[];
  /** Empty: the policy's own destination. */
  readonly backends: readonly AttachedBackend[];
  readonly retry: RouteRetry | null;
  readonly limits: RouteLimits | null;
}

/** A route of an outbound policy. */
export interface AttachedRoute<Match> {
  readonly origin: Origin;
  /** Names, or `*.` and the end of names; empty: every name. */
  readonly hosts: readonly string[];
  readonly rules: readonly AttachedRule<Match>[];
  /** Named filters of all its rules. */
  readonly chain: readonly FilterRef[];
}

/** All routes of an outbound policy, which are of one type, in order of precedence. */
export type AttachedRoutes =
  | { readonly kind: "http"; readonly routes: readonly AttachedRoute<RequestMatch>[] }
  | { readonly kind: "grpc"; readonly routes: readonly AttachedRoute<GrpcMatch>[] }
  /** Of bytes: their one rule has backends only, and hosts are names that TLS clients ask for. */
  | { readonly kind: "tls" | "tcp"; readonly routes: readonly AttachedRoute<never>[] };

/** A rule of an inbound policy's route: the workload itself is where it leads. */
export type ServerRule<Match> = Pick<AttachedRule<Match>, "matches" | "filters">;

/** A route of an inbound policy. */
export interface AttachedServerRoute<Match> {
  readonly origin: Origin;
  readonly hosts: readonly string[];
  readonly rules: readonly ServerRule<Match>[];
  /** Clients that may use it beside those whom the server admits. */
  readonly authorizations: readonly Authorization[];
}

/** All routes of an inbound policy. */
export type AttachedServerRoutes =
  | { readonly kind: "http"; readonly routes: readonly AttachedServerRoute<RequestMatch>[] }
  | { readonly kind: "grpc"; readonly routes: readonly AttachedServerRoute<GrpcMatch>[] };
