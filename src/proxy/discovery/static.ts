// Discovery without a control plane: one target with fixed addresses and filters, one inbound policy.
// For `tulle proxy`, benches and conformance suites.

import { type FilterChain, type FilterRef, NO_FILTERS } from "../../core/filter.ts";
import type { Endpoint } from "../../model/endpoint.ts";
import type { ServerPolicy } from "../../model/policy.ts";
import { DEFAULT_RETRY_BUDGET, type Route } from "../../model/route.ts";
import type { Discovery, InboundSnapshot, OutboundSnapshot, Watched } from "./discovery.ts";

export interface StaticDiscoveryOptions {
  readonly endpoints: readonly Endpoint[];
  /** What runs for each request, and what it was made from. */
  readonly chain: FilterChain;
  readonly filters: readonly FilterRef[];
  /** What filters may ask, by the authority that their call-outs name; no filters run for these. */
  readonly callouts?: ReadonlyMap<string, readonly Endpoint[]>;
  /** Identities that inbound clients must have; null: everybody may come. */
  readonly allow: readonly string[] | null;
}

/** Every target is the same, but for those of call-outs. */
export function createStaticDiscovery(o: StaticDiscoveryOptions): Discovery {
  const route: Route = {
    name: "default",
    match: { kind: "path-prefix", prefix: "/" },
    responseClasses: [],
    labels: { route: "default" },
    retry: null,
    timeoutMs: 0,
    filters: o.filters,
  };
  const routes = [{ route, chain: o.chain }];
  const outbound: OutboundSnapshot = {
    authority: "static",
    exists: true,
    opaque: false,
    routes,
    budget: DEFAULT_RETRY_BUDGET,
    endpoints: { exists: true, endpoints: o.endpoints },
    defaultRttMs: 30,
    decayMs: 10_000,
    accrual: null,
  };
  const policy: ServerPolicy = {
    origin: { group: "", kind: "default", namespace: "", name: "static", port: 0 },
    protocol: "detect",
    detectMs: 10_000,
    authorizations: [{
      origin: { group: "", kind: "default", namespace: "", name: "static", port: 0 },
      networks: [{ cidr: "0.0.0.0/0", except: [] }, { cidr: "::/0", except: [] }],
      authentication: o.allow === null
        ? { kind: "unauthenticated" }
        : { kind: "identities", names: o.allow, suffixes: [] },
    }],
    routes: [route],
    filters: [],
  };
  const inbound: InboundSnapshot = { policy, routes };
  const asked = new Map(Array.from(o.callouts ?? [], ([authority, endpoints]) => [
    authority,
    {
      ...outbound,
      authority,
      routes: [{ route: { ...route, filters: [] }, chain: NO_FILTERS }],
      endpoints: { exists: true, endpoints },
    },
  ]));
  return {
    outbound: (key) => fixed("authority" in key ? asked.get(key.authority) ?? outbound : outbound),
    inbound: () => fixed(inbound),
  };
}

function fixed<T>(value: T): Watched<T> {
  return { value, why: "", subscribe: () => () => {}, release: () => {} };
}
