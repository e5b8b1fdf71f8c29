// What the control plane says of a destination: profile and client policy, joined to one value.

import type { FailureAccrual } from "./accrual.ts";
import type { AttachedRoutes } from "./attached-route.ts";
import type { Endpoint } from "./endpoint.ts";
import type { HashKey } from "./hash-key.ts";
import type { RetryBudget, Route } from "./route.ts";

/** Where a name or address came from: a resource, or a built-in default's name. */
export interface Origin {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** The part of the resource that is meant, such as a listener's name; absent: all of it. */
  readonly section?: string;
}

/** A whole `GetProfile` answer. */
export interface Profile {
  /** `svc.ns.svc.domain`, or empty when the target is no service. */
  readonly fullyQualifiedName: string;
  readonly opaque: boolean;
  readonly routes: readonly Route[];
  readonly budget: RetryBudget;
  /** Traffic split over other authorities (`host:port`), weights relative. */
  readonly overrides: readonly { readonly authority: string; readonly weight: number }[];
  /** Set when the target is one endpoint and no service. */
  readonly endpoint: Endpoint | null;
}

/** A whole outbound `Watch` answer, as far as it is carried out: HTTP and opaque bytes. */
export interface ClientPolicy {
  readonly origin: Origin;
  /** `detect` carries both; the others are said by the policy. TLS passes through as it is. */
  readonly protocol: "detect" | "http" | "opaque" | "tls";
  /** The service speaks HTTP/2 only, also to what its clients say in HTTP/1. */
  readonly http2Only?: boolean;
  readonly routes: readonly Route[];
  /** In a control plane: routes of objects, in the place of `routes`; a proxy reads both as `routes`. */
  readonly attached?: AttachedRoutes;
  /** In a control plane: it leaves the mesh, and this holds for what no attached route names: `routes`
   * then come after those. Absent: it stays inside. */
  readonly egress?: "Allow" | "Deny";
  /** In a proxy: the route of bytes that are no requests, where requests have others. */
  readonly bytes?: Route;
  /** `Destination/Get` path of the balancer, or empty when there is none. */
  readonly destination: string;
  /** The one address to forward to, where there is no balancer. With neither, requests fail. */
  readonly forward: Endpoint | null;
  readonly defaultRttMs: number;
  readonly decayMs: number;
  /** What leads to `destination` or `forward`, for metrics; absent: a default, or there are several. */
  readonly backend?: Origin;
  /** Null: no endpoint is ejected for its answers. */
  readonly accrual: FailureAccrual | null;
  /** Which requests go to the same endpoint; null or absent: endpoints are taken by load. */
  readonly hash?: HashKey | null;
}
