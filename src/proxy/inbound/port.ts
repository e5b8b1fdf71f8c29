// One port of the local application: its policy, and the way to the application. Target rate;
// connections hold it, requests only read it.

import { formatSocketAddr, type SocketAddr } from "../../core/addr.ts";
import type { ConnectTo, Driver, PeerTls } from "../../core/driver.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import type { Callouts } from "../../core/filter.ts";
import type { Labels } from "../../core/sheet.ts";
import {
  type Authorization,
  authorize,
  type Client,
  type ServerPolicy,
} from "../../model/policy.ts";
import type { Route } from "../../model/route.ts";
import type { Discovery, InboundSnapshot, RouteSnapshot, Watched } from "../discovery/discovery.ts";
import type { FilteredConnection } from "../http/connection-filters.ts";
import { DEFAULT_HTTP2, EndpointClients, type EndpointProtocol } from "../http/endpoint-clients.ts";
import { type DetectResult, DetectSeries } from "../tcp/detect-metrics.ts";
import type { ForwardEvents } from "../tcp/forward.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { ConnectionSeries } from "../metrics/connections.ts";
import { RequestSeries } from "../metrics/requests.ts";
import { AuthzSeries } from "../metrics/authz.ts";
import { InboundRouteSeries } from "../metrics/inbound-routes.ts";
import type { AccessLog } from "./access-log.ts";
import { type ApplicationWait, AwaitApplication } from "./await-application.ts";
import type { Measured } from "./measure.ts";
import type { Profiles } from "./profiles.ts";
import type { TapHub } from "../tap/hub.ts";

/** What all ports share. Per process. */
export interface InboundOptions {
  readonly driver: Driver;
  readonly metrics: ProxyMetrics;
  readonly discovery: Discovery;
  readonly sourceIp: string | null;
  /** Where the application listens on a port; null: there is no such port. */
  application(port: number): SocketAddr;
  readonly connectMs: number;
  readonly keepAliveMs?: number | null;
  readonly poolIdleMs: number;
  readonly maxIdle: number;
  /** Requests at once, over all ports and connections; more are refused. */
  readonly maxInFlight: number;
  readonly inFlight: { count: number };
  readonly maxHeadBytes: number;
  /** What is spoken to the application; absent: what the client speaks. */
  readonly protocol?: EndpointProtocol;
  /** How requests over HTTP/2 wait for an application that does not listen; absent: they do not. */
  readonly wait?: ApplicationWait;
  /** Asks other services for filters. */
  readonly callouts?: Callouts;
  /** ServiceProfiles that other proxies name; absent: none is looked up. */
  readonly profiles?: Profiles;
  /** Whoever observes requests. */
  readonly tap?: TapHub;
  /** Where each request is written down. */
  readonly accessLog?: AccessLog | null;
  /** Whether `authority` is a label of what clients ask; they choose it. */
  readonly authorityLabels?: boolean;
}

/** The policy's answer for one client. */
export interface Decision {
  readonly policy: ServerPolicy;
  readonly authorization: Authorization | null;
  /** Labels of what was decided, as in Linkerd's metrics. */
  readonly labels: Labels;
}

const UNKNOWN = { origin: { group: "", kind: "default", name: "" } };

export class InboundPort {
  readonly port: number;
  readonly options: InboundOptions;
  readonly watched: Watched<InboundSnapshot>;
  readonly application: SocketAddr;
  readonly connect: ConnectTo;
  readonly client: EndpointClients;
  /** Where requests without a connection wait; null: they do not. */
  readonly awaits: AwaitApplication | null;
  readonly #toApplication: ConnectionSeries;
  /** Connections that use it. */
  users = 0;
  readonly #series = new Map<string, RequestSeries>();
  readonly #connections = new Map<string, ConnectionSeries>();
  readonly #routes = new Map<string, InboundRouteSeries>();
  readonly #authz = new Map<string, AuthzSeries>();
  /** Used again by requests. */
  readonly measured: Measured[] = [];

  constructor(port: number, o: InboundOptions) {
    this.port = port;
    this.options = o;
    this.watched = o.discovery.inbound(port);
    this.application = o.application(port);
    this.connect = {
      addr: this.application,
      from: o.sourceIp,
      timeoutMs: o.connectMs,
      keepAliveMs: o.keepAliveMs ?? null,
      tls: null,
    };
    const tcp = this.#toApplication = new ConnectionSeries(o.metrics, {
      direction: "inbound",
      peer: "dst",
      tls: "no_identity",
      no_tls_reason: "loopback",
    });
    const name = `the application at ${formatSocketAddr(this.application)}`;
    this.client = new EndpointClients({
      driver: o.driver,
      connect: this.connect,
      name,
      protocol: o.protocol ?? "same",
      preface: () => null,
      http2: DEFAULT_HTTP2,
      metrics: o.metrics,
      direction: "inbound",
      maxHeadBytes: o.maxHeadBytes,
      idleMs: o.poolIdleMs,
      maxIdle: o.maxIdle,
      maxOpen: o.maxInFlight,
      again: (x, reply) => this.#again(x, reply),
    }, {
      connected: (ch) => {
        tcp.opened();
        o.driver.meter(ch, tcp);
        this.awaits?.connected();
      },
      disconnected: () => tcp.closed(),
      unreachable: (why) => this.awaits?.unreachable(why),
      started: () => {},
      answered: () => {},
      ended: () => {},
    });
    this.awaits = o.wait === undefined
      ? null
      : new AwaitApplication(o.driver, name, this.client, o.wait);
  }

  /** What the application did not process, and has no connection for now, waits as a new request does. */
  #again(x: Exchange, reply: Reply): Sink | null {
    const { awaits, client } = this;
    if (awaits === null || !client.isCold(x.request)) return null;
    return awaits.send(x, reply, (x, reply) => client.dispatch(x, reply));
  }

  /** Counts a connection of bytes to the application; its end is told to both. */
  forwarded(ended: () => void, filters: FilteredConnection | null): ForwardEvents {
    let isConnected = false;
    return {
      connected: (far) => {
        isConnected = true;
        this.#toApplication.opened();
        this.options.driver.meter(far, this.#toApplication);
      },
      ended: () => {
        if (isConnected) this.#toApplication.closed();
        ended();
        filters?.end(this.options.driver.now);
      },
    };
  }

  /** Whether something is decided by what a request says, so that bytes alone decide nothing. */
  get decidesByRequest(): boolean {
    const snapshot = this.watched.value;
    return snapshot === null || snapshot.policy.filters.length > 0 ||
      snapshot.routes.some(({ route }) => route.filters.length > 0);
  }

  /** Counts how detection on this port ended. */
  detected(result: DetectResult, ms: number): void {
    const { origin } = this.watched.value?.policy ?? UNKNOWN;
    const labels = {
      srv_group: origin.group,
      srv_kind: origin.kind,
      srv_name: origin.name,
      srv_port: String(this.port),
    };
    new DetectSeries(this.options.metrics, "inbound", labels).detected(result, ms);
  }

  /** Decides for a client by the newest policy; null before there is one. */
  decide(client: Client): Decision | null {
    const snapshot = this.watched.value;
    if (snapshot === null) return null;
    const { policy } = snapshot;
    return this.decisionOf(policy, authorize(policy, client), client);
  }

  /** What was decided for a client, by an authorization of the policy or of a route of it. */
  decisionOf(policy: ServerPolicy, authorization: Authorization | null, client: Client): Decision {
    return { policy, authorization, labels: this.#labels(policy, authorization, client) };
  }

  /** `request_total` and its kin for a decision and a route; connection rate. */
  requests(decision: Decision, { route }: RouteSnapshot, authority: string | null): RequestSeries {
    const labels: Labels = {
      direction: "inbound",
      ...decision.labels,
      ...routeNames(route),
      ...(authority === null ? {} : { authority }),
    };
    return memo(this.#series, labels, () => new RequestSeries(this.options.metrics, labels));
  }

  /** The registry families of a route. */
  routeSeries({ policy: { origin } }: Decision, { route }: RouteSnapshot): InboundRouteSeries {
    const isGrpc = route.isGrpc === true;
    const labels: Labels = {
      parent_group: origin.group,
      parent_kind: origin.kind,
      parent_name: origin.name,
      parent_port: String(this.port),
      ...routeNames(route),
    };
    return memo(
      this.#routes,
      { ...labels, isGrpc: String(isGrpc) },
      () => new InboundRouteSeries(this.options.metrics, labels, isGrpc),
    );
  }

  /** What the policy says of a client's requests; null: before a route is known. */
  authzSeries(decision: Decision, of: RouteSnapshot | null): AuthzSeries {
    const authz: Record<string, string> = {};
    const labels: Record<string, string> = {};
    for (const [key, value] of Object.entries(decision.labels)) {
      (key.startsWith("authz_") ? authz : labels)[key] = value;
    }
    if (of !== null) Object.assign(labels, routeNames(of.route));
    const { group = "", kind = "", name = "" } = decision.policy.rateLimit?.origin ?? {};
    const limit = { ratelimit_group: group, ratelimit_kind: kind, ratelimit_name: name };
    return memo(
      this.#authz,
      { ...labels, ...authz, ...limit },
      () => new AuthzSeries(this.options.metrics, labels, authz, limit),
    );
  }

  /** `tcp_*` of connections from a kind of peer; `serverName` of its own TLS, which passes through. */
  connections(tls: PeerTls | null, serverName?: string | null): ConnectionSeries {
    const labels: Labels = {
      direction: "inbound",
      peer: "src",
      ...targetLabels(this.application),
      ...(serverName === undefined ? tlsLabels(tls) : passedLabels(serverName)),
    };
    return memo(
      this.#connections,
      labels,
      () => new ConnectionSeries(this.options.metrics, labels),
    );
  }

  #labels(policy: ServerPolicy, authorization: Authorization | null, client: Client): Labels {
    const { origin } = policy;
    return {
      ...targetLabels(this.application),
      ...tlsLabels(client.meshed ? { identity: client.identity, alpn: null } : null),
      srv_group: origin.group,
      srv_kind: origin.kind,
      srv_name: origin.name,
      srv_port: String(this.port),
      ...(authorization === null ? {} : {
        authz_group: authorization.origin.group,
        authz_kind: authorization.origin.kind,
        authz_name: authorization.origin.name,
      }),
    };
  }
}

/** Most series per port: clients choose identities, within what the CA signs. */
const MAX_MEMO = 10_000;

function memo<T>(map: Map<string, T>, labels: Labels, make: () => T): T {
  const key = JSON.stringify(labels);
  let value = map.get(key);
  if (value === undefined) {
    if (map.size >= MAX_MEMO) map.clear();
    value = make();
    map.set(key, value);
  }
  return value;
}

function routeNames({ origin, name }: Route): Labels {
  return {
    route_group: origin?.group ?? "",
    route_kind: origin?.kind ?? "default",
    route_name: origin?.name ?? name,
  };
}

function targetLabels(addr: SocketAddr): Labels {
  return {
    target_addr: formatSocketAddr(addr),
    target_ip: addr.ip,
    target_port: String(addr.port),
  };
}

/** TLS that is not terminated here. A name is a label only where it is one. */
function passedLabels(serverName: string | null): Labels {
  const isName = serverName !== null && /^[\w.-]{1,253}$/.test(serverName);
  return { tls: "opaque", ...(isName ? { sni: serverName } : {}) };
}

function tlsLabels(tls: PeerTls | null): Labels {
  return tls === null
    ? { tls: "no_identity", no_tls_reason: "no_tls_from_remote" }
    : { tls: "true", client_id: tls.identity ?? "" };
}
