// TLSRoutes and TCPRoutes (gateway.networking.k8s.io): where connections go whose bytes are no requests,
// by the name that their clients ask for, or all of them.

import type { Resource } from "../resource.ts";
import { readBackends } from "./route-refs.ts";
import { type RouteRow, routeRow } from "./route-row.ts";

/** A route without conditions on requests, of exactly one rule. */
export type ByteRouteRow = RouteRow<never>;

/** Null: it is attached to nothing of the mesh. Without hosts it is for every name, and none. */
export function tlsRouteRow(r: Resource): ByteRouteRow | null {
  return byteRouteRow(r, "TLSRoute");
}

/** The same for all connections. */
export function tcpRouteRow(r: Resource): ByteRouteRow | null {
  return byteRouteRow(r, "TCPRoute");
}

function byteRouteRow(r: Resource, kind: "TLSRoute" | "TCPRoute"): ByteRouteRow | null {
  const row = routeRow<never>(r, kind, [], (rule) => ({
    matches: [],
    filters: [],
    backends: readBackends(rule, r, () => []),
  }));
  if (row === null || row.parents.length === 0) return row;
  const { length } = row.rules;
  if (length !== 1) r.body.at("spec").at("rules").fail(`has ${length} elements: a ${kind} has one`);
  return row;
}
