// Routes of inbound and outbound policies, flattened: one model route per match of each rule, in order
// of precedence, so that the first that holds is the one that the reference would take.

import type { FilterRef } from "../core/filter.ts";
import type { RequestMatch, Route, RouteRetry } from "../model/route.ts";
import { filtersFromWire } from "./filter-ref.ts";
import type { HostMatch } from "./gen/http_route_pb.ts";
import type { Metadata } from "./gen/meta_pb.ts";
import type { Chain } from "./gen/tulle/filter_pb.ts";
import { compareRanks, hostMatchFromWire, MATCH_ALL, type RankedMatch } from "./http-match.ts";
import { originFromWire } from "./origin.ts";
import { actionsFromWire, type BuiltInFilter } from "./route-actions.ts";
import { WireError } from "./wire-error.ts";

/** Rules of all routes of one policy, times their matches. */
const MAX_ROUTES = 1024;

/** A rule as both directions and both route types have it, with its matches converted. */
export interface FlatRule {
  readonly metadata: Metadata | undefined;
  readonly hosts: readonly HostMatch[];
  readonly matches: readonly RankedMatch[];
  readonly filters: readonly FilterRef[];
  /** Built into the wire API, in order. */
  readonly builtIn: readonly BuiltInFilter[];
  readonly retry: RouteRetry | null;
  readonly timeoutMs: number;
  /** Paths of the route and of the rule in their message. */
  readonly field: string;
  readonly at: string;
}

/** A route as both directions and both route types have it. */
interface WireRoute<Rule> {
  readonly metadata?: Metadata | undefined;
  readonly hosts: readonly HostMatch[];
  readonly rules: readonly Rule[];
}
interface WireRule<Match> {
  readonly matches: readonly Match[];
  readonly filters: readonly BuiltInFilter[];
  readonly filterChain?: Chain | undefined;
}

/**
 * The rules of all routes of one list, one after the other. `match` converts one of a rule's matches,
 * `more` what only its direction knows; both get the path for errors.
 */
export function rulesFromWire<Match, Rule extends WireRule<Match>, More>(
  routes: readonly WireRoute<Rule>[],
  field: string,
  match: (wire: Match, at: string) => RankedMatch,
  more: (rule: Rule, at: string, route: number) => More,
): (FlatRule & More)[] {
  return routes.flatMap((route, i) =>
    route.rules.map((rule, j): FlatRule & More => {
      const at = `${field}[${i}].rules[${j}]`;
      return {
        metadata: route.metadata,
        hosts: route.hosts,
        matches: rule.matches.map((m, k) => match(m, `${at}.matches[${k}]`)),
        filters: filtersFromWire(rule.filterChain, `${at}.filter_chain`),
        builtIn: rule.filters,
        retry: null,
        timeoutMs: 0,
        field: `${field}[${i}]`,
        at,
        ...more(rule, at, i),
      };
    })
  );
}

/** What is done to the requests of one of a rule's backends, and what its route has beside that. */
interface Variant<More> {
  readonly builtIn: readonly BuiltInFilter[];
  readonly more: More;
}

/** A variant is taken by way of its route. */
const NEVER: RequestMatch = { kind: "any", of: [] };

/**
 * All rules of a policy as routes in order of precedence; ties keep the order of the message. `more` is
 * what a rule's routes have beside that; `variants` of a rule come before each of its routes.
 */
export function routesOf<Rule extends FlatRule, More extends object>(
  rules: readonly Rule[],
  more: (rule: Rule) => More,
  variants: (rule: Rule) => readonly Variant<More>[] = () => [],
): readonly (Route & More)[] {
  const ranked: { rank: number[]; routes: (Route & More)[] }[] = [];
  let count = 0;
  for (const rule of rules) {
    const origin = originFromWire(rule.metadata, `${rule.field}.metadata`);
    const { name } = origin;
    const hosts: (RankedMatch & { readonly wildcard: string } | null)[] = rule.hosts.length === 0
      ? [null]
      : rule.hosts.map((h, i) => ({
        ...hostMatchFromWire(h, `${rule.field}.hosts[${i}]`),
        wildcard: wildcardOf(h),
      }));
    // A rule without matches holds for every request.
    const matches = rule.matches.length === 0
      ? [{ match: MATCH_ALL, rank: [-1, 0, 0, 0] }]
      : rule.matches;
    for (const host of hosts) {
      for (const { match, rank } of matches) {
        const route = (
          builtIn: readonly BuiltInFilter[],
          own: RequestMatch,
          beside: More & { readonly variants?: number },
        ): Route & More => {
          const actions = actionsFromWire(builtIn, match, `${rule.at}.filters`);
          return {
            name,
            match: own,
            responseClasses: [],
            labels: {},
            retry: rule.retry,
            timeoutMs: rule.timeoutMs,
            ...(actions.length === 0 ? {} : { actions }),
            filters: rule.filters,
            ...(origin.kind === "default" ? {} : { origin }),
            ...(host === null || host.wildcard === "" ? {} : { wildcard: host.wildcard }),
            ...beside,
          };
        };
        const of = variants(rule);
        const own = host === null ? match : both(host.match, match);
        count += 1 + of.length;
        ranked.push({
          rank: [...(host?.rank ?? [1, 0]), ...rank],
          routes: [
            ...of.map((v) => route([...rule.builtIn, ...v.builtIn], NEVER, v.more)),
            route(rule.builtIn, own, {
              ...more(rule),
              ...(of.length === 0 ? {} : { variants: of.length }),
            }),
          ],
        });
      }
    }
    if (count > MAX_ROUTES) {
      throw new WireError("routes", `has more than ${MAX_ROUTES} matches`);
    }
  }
  return ranked.sort((a, b) => compareRanks(a.rank, b.rank)).flatMap((r) => r.routes);
}

/** `*.example.com` for all names in `example.com`; empty: it is one name. */
function wildcardOf({ match }: HostMatch): string {
  if (match.case !== "suffix") return "";
  return ["*", ...[...match.value.reverseLabels].reverse()].join(".").toLowerCase();
}

function both(a: RequestMatch, b: RequestMatch): RequestMatch {
  return { kind: "all", of: b.kind === "all" ? [a, ...b.of] : [a, b] };
}
