// What one connection may do on a port, and the series that its requests count in: looked at again only
// when the policy changed. Requests read it.

import type { ConnInfo, Exchange } from "../../core/exchange.ts";
import { authorize, type Client, type ServerPolicy } from "../../model/policy.ts";
import type { InboundSnapshot, RouteSnapshot } from "../discovery/discovery.ts";
import type { AuthzSeries } from "../metrics/authz.ts";
import type { InboundRouteSeries } from "../metrics/inbound-routes.ts";
import type { RequestSeries } from "../metrics/requests.ts";
import type { Decision, InboundPort } from "./port.ts";

/** Authorities of one connection's requests whose series are kept at hand. */
const MAX_AUTHORITIES = 100;

/** The series of a route's requests on one connection. */
export class Routed {
  readonly route: InboundRouteSeries;
  readonly authz: AuthzSeries;
  /** A filter of the route decides who may use it. */
  readonly decides: boolean;
  /** How many filters saw a request when the one that limits answered it; -1: none limits. */
  readonly limitAt: number;
  readonly #port: InboundPort;
  readonly #decision: Decision;
  readonly #of: RouteSnapshot;
  readonly #plain: RequestSeries | null;
  readonly #byAuthority = new Map<string, RequestSeries>();

  constructor(port: InboundPort, decision: Decision, of: RouteSnapshot) {
    const actions = of.route.actions ?? [];
    this.#port = port;
    this.#decision = decision;
    this.#of = of;
    this.decides = decidesAccess(of);
    this.limitAt = actions.findIndex((a) => a.kind === "rate-limit") + 1 || -1;
    this.route = port.routeSeries(decision, of);
    this.authz = port.authzSeries(decision, of);
    this.#plain = port.options.authorityLabels === true ? null : port.requests(decision, of, null);
  }

  /** `request_total` and its kin; by authority only where that was asked for. */
  requests(x: Exchange): RequestSeries {
    if (this.#plain !== null) return this.#plain;
    const { authority } = x.request;
    let series = this.#byAuthority.get(authority);
    if (series === undefined) {
      if (this.#byAuthority.size >= MAX_AUTHORITIES) this.#byAuthority.clear();
      series = this.#port.requests(this.#decision, this.#of, authority);
      this.#byAuthority.set(authority, series);
    }
    return series;
  }

  /** What the proxy's own filters decided of a request that is over. */
  decided(x: Exchange): void {
    const { filtersSeen: seen } = x;
    // They come first: who may use the route, then how often.
    if (this.decides) {
      if (seen === 1 && x.local !== null) return this.authz.denied();
      // One that could not run decided nothing.
      if (seen !== 0) this.authz.allowed();
    }
    if (seen === this.limitAt && x.local !== null) this.authz.limited(this.#scopeOf(x));
  }

  #scopeOf(x: Exchange): "total" | "identity" {
    const limit = this.#decision.policy.rateLimit;
    if (limit == null || limit.total === 0) return "identity";
    if (limit.identity === 0 && limit.overrides.length === 0) return "total";
    // The filter that has both says which it was.
    return x.local?.body.includes("of this client") === true ? "identity" : "total";
  }
}

/** What is known of the connection, looked at again only when the policy changed. */
export class Standing {
  readonly port: InboundPort;
  readonly conn: ConnInfo;
  readonly client: Client;
  decision: Decision | null = null;
  /** A route may admit whom the server does not. */
  routesDecide = false;
  #snapshot: InboundSnapshot | null = null;
  #routed = new Map<RouteSnapshot, Routed>();
  #lastRoute: RouteSnapshot | null = null;
  #last: Routed | null = null;

  constructor(port: InboundPort, conn: ConnInfo) {
    this.port = port;
    this.conn = conn;
    const { remote, tls } = conn;
    this.client = { ip: remote.ip, meshed: tls !== null, identity: tls?.identity ?? null };
  }

  get snapshot(): InboundSnapshot | null {
    return this.#snapshot;
  }

  refresh(): void {
    const { value } = this.port.watched;
    if (value === this.#snapshot) return;
    this.#snapshot = value;
    this.#routed = new Map();
    this.#lastRoute = null;
    this.decision = this.port.decide(this.client);
    this.routesDecide = value?.routes.some(decidesAccess) ?? false;
  }

  /** The series of a route's requests; null: nothing was decided. */
  routed(route: RouteSnapshot): Routed | null {
    if (route === this.#lastRoute) return this.#last;
    let routed = this.#routed.get(route);
    if (routed === undefined) {
      const { decision } = this;
      if (decision === null) return null;
      routed = new Routed(this.port, this.#onRoute(decision, route), route);
      this.#routed.set(route, routed);
    }
    this.#lastRoute = route;
    this.#last = routed;
    return routed;
  }

  /** Where a route admits by itself, its authorization is what a request is allowed by. */
  #onRoute(decision: Decision, route: RouteSnapshot): Decision {
    if (!decidesAccess(route)) return decision;
    const { policy } = decision;
    const own = policy.routes.find((r) =>
      r.name === route.route.name && r.match === route.route.match
    );
    const authorizations = [...policy.authorizations, ...(own?.authorizations ?? [])];
    const all: ServerPolicy = { ...policy, authorizations };
    return this.port.decisionOf(policy, authorize(all, this.client), this.client);
  }
}

/** Whether a filter of the route decides who may use it, in the place of the server's policy. */
export function decidesAccess({ route }: RouteSnapshot): boolean {
  return route.actions?.some((a) => a.kind === "authorize") ?? false;
}
