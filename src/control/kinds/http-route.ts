// HTTPRoutes (policy.linkerd.io and gateway.networking.k8s.io): where HTTP requests go, and what is done to
// them on the way.

import type { RequestMatch } from "../../model/route.ts";
import { Field } from "../field.ts";
import type { Resource } from "../resource.ts";
import { readHttpFilters } from "./route-filters.ts";
import { readHttpMatches } from "./route-matches.ts";
import { readBackends } from "./route-refs.ts";
import { type RouteRow, routeRow, type RuleRow } from "./route-row.ts";

export type HttpRouteRow = RouteRow<RequestMatch>;

/** Null: it is attached to nothing of the mesh. Without rules it has one for every path (CRD's default). */
export function httpRouteRow(r: Resource): HttpRouteRow | null {
  const every = new Field({}, ["spec", "rules", 0]);
  return routeRow(r, "HTTPRoute", [every], (rule) => readRule(rule, r));
}

function readRule(rule: Field, r: Resource): Omit<RuleRow<RequestMatch>, "limits"> {
  const matches = readHttpMatches(rule);
  const filters = readHttpFilters(rule);
  const backends = readBackends(rule, r, readHttpFilters);
  const replaces = [...filters, ...backends.flatMap((b) => b.filters)]
    .some((f) => f.kind === "redirect" && f.path?.replace === "prefix");
  if (replaces && !(matches.length > 0 && matches.every(hasPrefix))) {
    rule.at("filters").fail("replace the prefix of a path in a rule that matches no prefix");
  }
  return { matches, filters, backends };
}

function hasPrefix(match: RequestMatch): boolean {
  return match.kind === "path-prefix" || (match.kind === "all" && match.of.some(hasPrefix));
}
