// The one seam for what the data plane knows. Implementations: the control plane (`discovery/mesh.ts`),
// a static target (`discovery/static.ts`), either of them seen from a worker
// (`workers/remote-discovery.ts`), and tests.

import type { SocketAddr } from "../../core/addr.ts";
import type { FilterChain } from "../../core/filter.ts";
import type { FailureAccrual } from "../../model/accrual.ts";
import type { HashKey } from "../../model/hash-key.ts";
import type { EndpointSet } from "../../model/endpoint.ts";
import type { ServerPolicy } from "../../model/policy.ts";
import type { Origin } from "../../model/profile.ts";
import type { RetryBudget, Route } from "../../model/route.ts";

/**
 * Where a client wants to go: an original destination, or a name (Host, absolute-form, CONNECT).
 * `profile`: only the ServiceProfile of a name (`name.namespace.svc.domain:port`) is looked up; its
 * routes have no filters and there are no endpoints.
 */
export type TargetKey =
  | { readonly original: SocketAddr }
  | { readonly authority: string }
  | { readonly profile: string };

/** A route with its filters instantiated. */
export interface RouteSnapshot {
  readonly route: Route;
  readonly chain: FilterChain;
}

/** All that is known of an outbound target at one moment. Immutable; a new one replaces it whole. */
export interface OutboundSnapshot {
  /** `svc.ns.svc.domain:port`, or the target's own text for what is no service. For metrics. */
  readonly authority: string;
  /** False: the control plane says that there is no such service. */
  readonly exists: boolean;
  readonly opaque: boolean;
  /** Opaque, and TLS: a connection begins with a ClientHello, whose name chooses the route. */
  readonly tls?: boolean;
  /** Its port is declared to speak HTTP: what is none is refused. */
  readonly httpOnly?: boolean;
  /** The endpoints speak HTTP/2, also to what a client says in HTTP/1. */
  readonly http2Only?: boolean;
  /** Of bytes that are no requests, where those have routes of their own; null or absent: the last of
   * `routes`. */
  readonly bytes?: Route | null;
  /** In order of precedence; the first that matches is taken. */
  readonly routes: readonly RouteSnapshot[];
  readonly budget: RetryBudget;
  /** Null: not known yet (the destination stream has not answered). */
  readonly endpoints: EndpointSet | null;
  readonly defaultRttMs: number;
  readonly decayMs: number;
  /** When endpoints are ejected; null: never. */
  readonly accrual: FailureAccrual | null;
  /** Whose policy this is, for metrics; null: a ServiceProfile decides; absent: a default. */
  readonly parent?: Origin | null;
  /** What leads to the endpoints where there is no split, for metrics; absent: a default. */
  readonly backend?: Origin;
  /** Which requests go to the same endpoint; null or absent: endpoints are taken by load. */
  readonly hash?: HashKey | null;
  /** `name:port` of the service whose ServiceProfile decides; null or absent: none does. */
  readonly canonical?: string | null;
}

/** All that is known of an inbound port. */
export interface InboundSnapshot {
  readonly policy: ServerPolicy;
  readonly routes: readonly RouteSnapshot[];
}

/** A target in use. The reader calls `release` when its last connection is gone. */
export interface Watched<T> {
  /** The newest snapshot; null: nothing known yet. Synchronous, a field read. */
  readonly value: T | null;
  /** Why there is none yet, for the error that a request gets; empty: just not answered. */
  readonly why: string;
  /**
   * Called synchronously on each new snapshot, `explained` on each new `why` without one. Returns what
   * ends both.
   */
  subscribe(listener: (value: T) => void, explained?: (why: string) => void): () => void;
  release(): void;
}

/** Looked up once per target, never per request. */
export interface Discovery {
  outbound(target: TargetKey): Watched<OutboundSnapshot>;
  inbound(port: number): Watched<InboundSnapshot>;
}
