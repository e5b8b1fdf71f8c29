// Which route bytes take that are no requests: TLS by the name that its client asks for, others the last
// one. Connection rate.

import { MeshError } from "../../core/errors.ts";
import type { Route } from "../../model/route.ts";
import { type SniMatch, sniRank } from "../../model/sni.ts";
import type { OutboundSnapshot } from "../discovery/discovery.ts";

/** What bytes take where requests have routes of their own, and else `byteRoute`. Undefined: none. */
export function routeOfBytes(
  { bytes, routes }: Pick<OutboundSnapshot, "bytes" | "routes">,
  serverName: string | null | undefined,
): Route | undefined {
  return serverName === undefined && bytes != null ? bytes : byteRoute(routes, serverName)?.route;
}

/** Why a connection of bytes is refused at once, whatever its route leads to; null: it is not. */
export function refusalOf(
  snapshot: OutboundSnapshot,
  serverName: string | null | undefined,
): MeshError | null {
  const route = routeOfBytes(snapshot, serverName);
  if (route === undefined || !(route.refuses !== undefined || failsAll(route))) return null;
  const why = `The route ${route.name} of ${snapshot.authority} lets no connection through`;
  return new MeshError(route.refuses === "invalid" ? "policy" : "unauthorized", why);
}

/** Where every request fails, bytes that are none are no way around it. */
function failsAll({ actions = [] }: Route): boolean {
  return actions.some((a) => a.kind === "fail" && a.ratio >= 1);
}

/** What of a route is looked at. */
interface ByteRoute {
  readonly route: { readonly snis?: readonly SniMatch[] };
}

/**
 * The route of a connection, or undefined when its name has none. `serverName` undefined: it was not
 * looked at, and any route will do that is not of TLS.
 */
export function byteRoute<T extends ByteRoute>(
  routes: readonly T[],
  serverName: string | null | undefined,
): T | undefined {
  if (serverName === undefined) return routes.at(-1);
  let best: T | undefined;
  let rank = 0;
  for (const one of routes) {
    const own = sniRank(one.route.snis ?? [], serverName);
    // The first of equals.
    if (own > rank) [best, rank] = [one, own];
  }
  return best;
}
