// Outbound policies for bytes that are no requests: opaque ones, and TLS that passes through, whose routes
// are chosen by the name that the client asks for. Read from outbound.proto.

import type { ClientPolicy, Origin } from "../model/profile.ts";
import type { FailAction } from "../model/route-action.ts";
import type { RequestMatch, Route } from "../model/route.ts";
import type { SniMatch } from "../model/sni.ts";
import type { OpaqueRoute, TlsRoute } from "./gen/outbound_pb.ts";
import type { SniMatch as SniMatchWire } from "./gen/tls_route_pb.ts";
import { originFromWire } from "./origin.ts";
import { type Leads, leadsFromWire, NOWHERE, onlyTarget, splitOf } from "./policy-backends.ts";
import { shown, WireError } from "./wire-error.ts";

/** Routes of one policy. */
const MAX_ROUTES = 256;
const MAX_SNIS = 64;

interface ByteRoute {
  readonly leads: Leads;
  readonly origin: Origin;
  readonly refuses: Route["refuses"];
}

/** The policy of opaque bytes: they take the first route, since they say nothing that chooses one. */
export function opaquePolicy(
  origin: Origin,
  routes: readonly OpaqueRoute[],
  field: string,
): ClientPolicy {
  const read = routes.map((route, i) => routeFromWire(route, origin, `${field}[${i}]`));
  const [first] = read;
  const only = onlyTarget(read.slice(0, 1));
  const taken = first === undefined || (only !== null && first.refuses === undefined)
    ? []
    : [routeOf(first, only === null)];
  const target = only ?? parameters(read);
  return { origin, protocol: "opaque", routes: taken, ...target, accrual: null };
}

/** The route of bytes that are no requests, under a policy whose requests have routes of their own. */
export function bytesRoute(
  origin: Origin,
  routes: readonly OpaqueRoute[],
  field: string,
): Route | null {
  const [first] = routes;
  // Where they lead is where requests do.
  return first === undefined ? null : routeOf(routeFromWire(first, origin, `${field}[0]`), false);
}

/** The policy of TLS: a connection for a name that no route has is refused. */
export function tlsPolicy(
  origin: Origin,
  routes: readonly TlsRoute[],
  field: string,
): ClientPolicy {
  if (routes.length > MAX_ROUTES) throw new WireError(field, `has more than ${MAX_ROUTES} entries`);
  const read = routes.map((route, i) => ({
    ...routeFromWire(route, origin, `${field}[${i}]`),
    snis: snisFromWire(route.snis, `${field}[${i}].snis`),
  }));
  const only = onlyTarget(read);
  return {
    origin,
    protocol: "tls",
    routes: read.map(({ snis, ...route }) => ({
      ...routeOf(route, only === null),
      // A request names no host in a ClientHello: it is for routes that ask for none.
      ...(snis.length === 0 ? {} : { match: NEVER }),
      snis,
    })),
    ...(only ?? parameters(read)),
    accrual: null,
  };
}

/** The first one's parameters are those of every balancer. */
function parameters(routes: readonly ByteRoute[]) {
  return routes.flatMap((r) => r.leads.to).find((t) => t.target.destination !== "")?.target ??
    NOWHERE;
}

const NEVER: RequestMatch = { kind: "any", of: [] };

/** What a request gets that is sent to a route which refuses bytes. */
const REFUSE: FailAction = {
  kind: "fail",
  status: 403,
  grpcStatus: null,
  message: "traffic not allowed",
  ratio: 1,
};

function routeOf({ origin, leads, refuses }: ByteRoute, isSplit: boolean): Route {
  return {
    name: origin.name,
    match: { kind: "all", of: [] },
    responseClasses: [],
    labels: {},
    retry: null,
    timeoutMs: 0,
    filters: [],
    origin,
    ...(refuses === undefined ? {} : { refuses, actions: [REFUSE] }),
    ...(isSplit ? { split: splitOf(leads) } : {}),
  };
}

function routeFromWire(route: OpaqueRoute | TlsRoute, policy: Origin, at: string): ByteRoute {
  const { metadata } = route;
  const origin = metadata === undefined ? policy : originFromWire(metadata, `${at}.metadata`);
  const [rule, ...more] = route.rules;
  if (rule === undefined || more.length > 0) {
    throw new WireError(`${at}.rules`, `has ${route.rules.length} entries, not one`);
  }
  const { builtIn, each, ...leads } = leadsFromWire(rule.backends?.kind, `${at}.rules[0].backends`);
  if (each !== null) {
    throw new WireError(
      `${at}.rules[0].backends`,
      "has filters of one of several backends: not supported for bytes",
    );
  }
  // Each filter that there is closes it, also one of a backend.
  const [closing] = [...rule.filters, ...builtIn];
  const refuses = closing === undefined
    ? undefined
    : closing.kind.case === "invalid"
    ? "invalid"
    : "forbidden";
  return { origin, leads, refuses };
}

function snisFromWire(wire: readonly SniMatchWire[], field: string): SniMatch[] {
  if (wire.length > MAX_SNIS) throw new WireError(field, `has more than ${MAX_SNIS} entries`);
  return wire.map(({ match }, i) => {
    const name = match.case === "exact"
      ? match.value
      : match.case === "suffix"
      ? [...match.value.reverseLabels].reverse().join(".")
      : "";
    if (!/^[A-Za-z0-9._-]{1,253}$/.test(name)) {
      throw new WireError(`${field}[${i}]`, `${shown(name)} is not a host name`);
    }
    return { kind: match.case === "exact" ? "exact" : "suffix", name };
  });
}
