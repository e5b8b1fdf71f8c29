// Routes of inbound and outbound policies, flattened: one model route per match of each rule, in order
// of precedence, so that the first that holds is the one that the reference would take.

import type { FilterRef } from "../core/filter.ts";
import type { RequestMatch, Route, RouteRetry } from "../model/route.ts";
import type { HostMatch } from "./gen/http_route_pb.ts";
import type { Metadata } from "./gen/meta_pb.ts";
import { compareRanks, hostMatchFromWire, MATCH_ALL, type RankedMatch } from "./http-match.ts";
import { originFromWire } from "./origin.ts";
import { WireError } from "./wire-error.ts";

/** Rules of all routes of one policy, times their matches. */
const MAX_ROUTES = 1024;

/** A rule as both directions and both route types have it, with its matches converted. */
export interface FlatRule {
  readonly metadata: Metadata | undefined;
  readonly hosts: readonly HostMatch[];
  readonly matches: readonly RankedMatch[];
  readonly filters: readonly FilterRef[];
  readonly retry: RouteRetry | null;
  readonly timeoutMs: number;
  /** Path of the route in its message. */
  readonly field: string;
}

/** All rules of a policy as routes in order of precedence; ties keep the order of the message. */
export function routesOf(rules: readonly FlatRule[]): readonly Route[] {
  const ranked: { rank: number[]; route: Route }[] = [];
  for (const rule of rules) {
    const name = originFromWire(rule.metadata, `${rule.field}.metadata`).name;
    const hosts: (RankedMatch | null)[] = rule.hosts.length === 0
      ? [null]
      : rule.hosts.map((h, i) => hostMatchFromWire(h, `${rule.field}.hosts[${i}]`));
    // A rule without matches holds for every request.
    const matches = rule.matches.length === 0
      ? [{ match: MATCH_ALL, rank: [-1, 0, 0] }]
      : rule.matches;
    for (const host of hosts) {
      for (const { match, rank } of matches) {
        ranked.push({
          rank: [...(host?.rank ?? [1, 0]), ...rank],
          route: {
            name,
            match: host === null ? match : both(host.match, match),
            responseClasses: [],
            labels: {},
            retry: rule.retry,
            timeoutMs: rule.timeoutMs,
            filters: rule.filters,
          },
        });
      }
    }
    if (ranked.length > MAX_ROUTES) {
      throw new WireError("routes", `has more than ${MAX_ROUTES} matches`);
    }
  }
  return ranked.sort((a, b) => compareRanks(a.rank, b.rank)).map((r) => r.route);
}

/** Raises a `WireError` for built-in filters, none of which is spoken yet: to ignore one would open what it closes. */
export function refuseBuiltIn(
  filters: readonly { readonly kind: { readonly case?: string | undefined } }[],
  field: string,
): void {
  const first = filters[0];
  if (first !== undefined) {
    throw new WireError(`${field}.filters[0]`, `${first.kind.case ?? "its kind"} is not supported`);
  }
}

function both(a: RequestMatch, b: RequestMatch): RequestMatch {
  return { kind: "all", of: b.kind === "all" ? [a, ...b.of] : [a, b] };
}
