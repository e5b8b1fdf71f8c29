// Profile and client policy of one target, joined to one plan: which routes, which endpoints. Pure;
// Linkerd's rules of precedence, in its order. `target.ts` calls it on every message.

import { formatSocketAddr } from "../../core/addr.ts";
import type { FailureAccrual } from "../../model/accrual.ts";
import type { Endpoint, EndpointSet } from "../../model/endpoint.ts";
import type { HashKey } from "../../model/hash-key.ts";
import type { ClientPolicy, Origin, Profile } from "../../model/profile.ts";
import {
  DEFAULT_RETRY_BUDGET,
  type RetryBudget,
  type Route,
  type RouteSplit,
} from "../../model/route.ts";
import type { ResolvedTarget } from "./names.ts";
import type { RoutePlan } from "./route-chains.ts";

/** A target that can be looked up. */
export type LookedUpTarget = Extract<ResolvedTarget, { kind: "addr" | "name" }>;

/** Where endpoints come from: one path; several, whose endpoints are told apart; or nowhere else. */
export type EndpointSource =
  | { readonly path: string }
  /** `forwards` are backends whose one address is known. */
  | { readonly backends: readonly string[]; readonly forwards: readonly Endpoint[] }
  | { readonly set: EndpointSet };

/** What to do with a target's traffic. */
export interface TargetPlan {
  /** For metrics. */
  readonly authority: string;
  readonly opaque: boolean;
  /** As in the snapshot. */
  readonly tls: boolean;
  /** As in the snapshot. */
  readonly httpOnly: boolean;
  /** The endpoints speak HTTP/2 only. */
  readonly http2Only: boolean;
  readonly routes: readonly RoutePlan[];
  readonly budget: RetryBudget;
  /** `Destination/Get` paths, or a set that is already known. */
  readonly endpoints: EndpointSource;
  /** Why there are none, or empty. */
  readonly why: string;
  readonly defaultRttMs: number;
  readonly decayMs: number;
  readonly accrual: FailureAccrual | null;
  /** As in the snapshot. */
  readonly parent: Origin | null;
  readonly backend: Origin;
  readonly hash: HashKey | null;
  readonly canonical: string | null;
  /** As in the snapshot. */
  readonly bytes: Route | null;
}

/** Linkerd's, for targets whose policy says nothing. */
const DEFAULT_RTT_MS = 30;
const DEFAULT_DECAY_MS = 10_000;

/** Null stands for none: the profile failed or there is no policy for this target. */
export function combine(
  target: LookedUpTarget,
  profile: Profile | null,
  policy: ClientPolicy | null,
): TargetPlan {
  const tls = policy?.protocol === "tls";
  const opaque = profile?.opaque === true || tls || policy?.protocol === "opaque";
  const winning = profile !== null && profileWins(profile, opaque) ? profile : null;
  const routes = routesOf(winning, policy);
  const split = splitLeads(routes);
  const leads = split ?? endpointsOf(target, profile, winning, policy);
  return {
    ...leads,
    authority: authorityOf(target, profile, winning === null && split === null ? policy : null),
    opaque,
    tls: tls && winning === null,
    httpOnly: !opaque && winning === null && policy?.protocol === "http",
    http2Only: policy?.http2Only === true,
    routes: routes.map((route) => ({ route, filters: route.filters })),
    budget: profile?.budget ?? DEFAULT_RETRY_BUDGET,
    defaultRttMs: policy?.defaultRttMs ?? DEFAULT_RTT_MS,
    decayMs: policy?.decayMs ?? DEFAULT_DECAY_MS,
    // Of the policy, also where the profile has the routes: it is the Service's, not a route's. An
    // address that stands alone has nobody to take its place: as with Linkerd it is never ejected.
    accrual: "set" in leads.endpoints ? null : policy?.accrual ?? null,
    parent: winning !== null ? null : policy?.origin ?? defaultOf(profile),
    backend: policy?.backend ?? defaultOf(profile),
    hash: policy?.hash ?? null,
    canonical: winning === null || winning.fullyQualifiedName === ""
      ? null
      : `${winning.fullyQualifiedName}:${portOf(target)}`,
    bytes: winning === null ? policy?.bytes ?? null : null,
  };
}

/** What Linkerd calls a policy that nobody sent: it forwards to the profile's endpoint, or anywhere. */
function defaultOf(profile: Profile | null): Origin {
  const name = profile?.endpoint != null ? "endpoint" : "fallback";
  return { group: "", kind: "default", namespace: "", name, port: 0 };
}

/** Whether the ServiceProfile decides, and the policy does not. */
function profileWins(profile: Profile, opaque: boolean): boolean {
  if (opaque) return profile.overrides.length > 0;
  return profile.fullyQualifiedName !== "" &&
    (profile.routes.length > 0 || profile.overrides.length > 0);
}

function endpointsOf(
  target: LookedUpTarget,
  profile: Profile | null,
  winning: Profile | null,
  policy: ClientPolicy | null,
): Pick<TargetPlan, "endpoints" | "why"> {
  const logical = profile === null ? "" : profile.fullyQualifiedName;
  if (winning !== null) {
    const path = winning.overrides[0]?.authority ?? `${logical}:${portOf(target)}`;
    return { endpoints: { path }, why: "" };
  }
  if (policy !== null) {
    if (policy.forward !== null) return known(policy.forward);
    if (policy.destination !== "") return { endpoints: { path: policy.destination }, why: "" };
    return nowhere(`The policy ${policy.origin.name} of ${target.key} forwards nowhere`);
  }
  // No policy: the synthesised one forwards to the profile's endpoint, else to the original address.
  if (profile !== null && profile.endpoint !== null) return known(profile.endpoint);
  if (target.kind === "addr") return known(plain(target));
  if (logical !== "") return { endpoints: { path: `${logical}:${target.port}` }, why: "" };
  return nowhere(`There is no service ${target.key}`);
}

/** A profile's overrides: several share the traffic of every route by weight; one is like no split. */
function splitOf({ overrides }: Profile): RouteSplit | null {
  if (overrides.length < 2) return null;
  const sum = overrides.reduce((total, o) => total + o.weight, 0);
  // Weights of nothing say nothing: all are the same.
  const backends = sum > 0 ? overrides : overrides.map((o) => ({ ...o, weight: 1 }));
  return { pick: "random", backends };
}

/** All destinations that the routes' splits name; null: there is no split. */
function splitLeads(routes: readonly Route[]): Pick<TargetPlan, "endpoints" | "why"> | null {
  if (!routes.some((r) => r.split !== undefined)) return null;
  const all = routes.flatMap((r) => r.split?.backends ?? []);
  const forwards = new Map<string, Endpoint>();
  const paths = new Set<string>();
  for (const { authority, forward } of all) {
    if (forward !== undefined) forwards.set(authority, { ...forward, backend: authority });
    else if (authority !== "") paths.add(authority);
  }
  const backends = [...paths].sort();
  return { endpoints: { backends, forwards: [...forwards.values()] }, why: "" };
}

/**
 * The profile's routes end with one for what none of them matches. It has no retries and no time-out,
 * as in Linkerd, but the filters of the policy's own catch-all, so that a path which no route names is
 * no way around a filter of the service.
 */
function routesOf(winning: Profile | null, policy: ClientPolicy | null): readonly Route[] {
  if (winning === null) {
    return policy === null || policy.routes.length === 0 ? [DEFAULT_ROUTE] : policy.routes;
  }
  const catchAll = policy?.routes.find(matchesAll);
  const routes = [...winning.routes, { ...DEFAULT_ROUTE, filters: catchAll?.filters ?? [] }];
  const split = splitOf(winning);
  return split === null ? routes : routes.map((route) => ({ ...route, split }));
}

/** What a target without routes has. */
export const DEFAULT_ROUTE: Route = {
  name: "default",
  match: { kind: "all", of: [] },
  responseClasses: [],
  labels: {},
  retry: null,
  timeoutMs: 0,
  filters: [],
};

function matchesAll({ match }: Route): boolean {
  return (match.kind === "path-prefix" && match.prefix === "/") ||
    (match.kind === "all" && match.of.every((m) => matchesAll({ ...DEFAULT_ROUTE, match: m })));
}

/** The logical destination. `policy`: where it leads to one alone, which may be another than what was asked. */
function authorityOf(
  target: LookedUpTarget,
  profile: Profile | null,
  policy: ClientPolicy | null,
): string {
  if (policy !== null && policy.destination !== "") return policy.destination;
  const logical = profile?.fullyQualifiedName ?? "";
  return logical === "" ? target.key : `${logical}:${portOf(target)}`;
}

function portOf(target: LookedUpTarget): number {
  return target.kind === "addr" ? target.addr.port : target.port;
}

function plain(target: Extract<LookedUpTarget, { kind: "addr" }>): Endpoint {
  return {
    addr: target.addr,
    weight: 10_000,
    labels: {},
    identity: null,
    transportPort: 0,
    hint: "none",
  };
}

function known(endpoint: Endpoint): Pick<TargetPlan, "endpoints" | "why"> {
  return { endpoints: { set: { exists: true, endpoints: [endpoint] } }, why: "" };
}

function nowhere(why: string): Pick<TargetPlan, "endpoints" | "why"> {
  return { endpoints: { set: { exists: false, endpoints: [] } }, why };
}

/** The path of `GetProfile` for a target. */
export function profilePath(target: LookedUpTarget): string {
  return target.kind === "addr" ? formatSocketAddr(target.addr) : `${target.host}:${target.port}`;
}
