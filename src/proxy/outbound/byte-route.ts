// Which route bytes take that are no requests: TLS by the name that its client asks for, others the last
// one. Connection rate.

import { type SniMatch, sniRank } from "../../model/sni.ts";

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
