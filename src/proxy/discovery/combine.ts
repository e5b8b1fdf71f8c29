// Profile and client policy of one target, joined to one plan: which routes, which endpoints. Pure;
// Linkerd's rules of precedence, in its order. `target.ts` calls it on every message.

import { formatSocketAddr } from "../../core/addr.ts";
import type { FailureAccrual } from "../../model/accrual.ts";
import type { Endpoint, EndpointSet } from "../../model/endpoint.ts";
import type { ClientPolicy, Profile } from "../../model/profile.ts";
import { DEFAULT_RETRY_BUDGET, type RetryBudget, type Route } from "../../model/route.ts";
import type { ResolvedTarget } from "./names.ts";
import type { RoutePlan } from "./route-chains.ts";

/** A target that can be looked up. */
export type LookedUpTarget = Extract<ResolvedTarget, { kind: "addr" | "name" }>;

/** What to do with a target's traffic. */
export interface TargetPlan {
  /** For metrics. */
  readonly authority: string;
  readonly opaque: boolean;
  /** The endpoints speak HTTP/2 only. */
  readonly http2Only: boolean;
  readonly routes: readonly RoutePlan[];
  readonly budget: RetryBudget;
  /** A `Destination/Get` path, or a set that is already known. */
  readonly endpoints: { readonly path: string } | { readonly set: EndpointSet };
  /** Why there are none, or empty. */
  readonly why: string;
  readonly defaultRttMs: number;
  readonly decayMs: number;
  readonly accrual: FailureAccrual | null;
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
  const opaque = profile?.opaque === true || policy?.protocol === "opaque";
  const winning = profile !== null && profileWins(profile, opaque) ? profile : null;
  const leads = endpointsOf(target, profile, winning, policy);
  return {
    ...leads,
    authority: authorityOf(target, profile, policy),
    opaque,
    http2Only: policy?.http2Only === true,
    routes: routesOf(winning, policy).map((route) => ({ route, filters: route.filters })),
    budget: profile?.budget ?? DEFAULT_RETRY_BUDGET,
    defaultRttMs: policy?.defaultRttMs ?? DEFAULT_RTT_MS,
    decayMs: policy?.decayMs ?? DEFAULT_DECAY_MS,
    // Of the policy, also where the profile has the routes: it is the Service's, not a route's.
    accrual: policy?.accrual ?? null,
  };
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
    const path = heaviest(winning) ?? `${logical}:${portOf(target)}`;
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

/**
 * The override that traffic goes to.
 *
 * A split over several is not carried out: all of it goes to the heaviest, which `target.ts` logs.
 */
function heaviest(profile: Profile): string | null {
  let best: Profile["overrides"][number] | null = null;
  for (const o of profile.overrides) if (best === null || o.weight > best.weight) best = o;
  return best === null ? null : best.authority;
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
  return [...winning.routes, { ...DEFAULT_ROUTE, filters: catchAll?.filters ?? [] }];
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
