// One endpoint of a destination as the balancer sees it: its load, its connections, its metrics.
// Lives as long as it is in the set, across snapshots.

import type { Backoff } from "../../core/clock.ts";
import type { Chan, ChanError, ConnectTo, Driver } from "../../core/driver.ts";
import { formatSocketAddr } from "../../core/addr.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import type { Labels } from "../../core/sheet.ts";
import type { FailureAccrual } from "../../model/accrual.ts";
import type { Endpoint } from "../../model/endpoint.ts";
import { isPodLocal } from "../../model/loopback.ts";
import type { ExchangeOutcome } from "../http1/client.ts";
import type { LoadListener } from "../http1/endpoint-client.ts";
import {
  DEFAULT_HTTP2,
  EndpointClients,
  type EndpointProtocol,
  type Http2Knobs,
} from "../http/endpoint-clients.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { ConnectionSeries, localityOf } from "../metrics/connections.ts";
import { RequestSeries } from "../metrics/requests.ts";
import { encodeTransportHeader, TRANSPORT_ALPN } from "../../api/transport-header.ts";
import { Breaker } from "./breaker.ts";
import type { ConnectQueue, Dialled } from "./connect-queue.ts";
import { PeakEwma, type PendingCount } from "./peak-ewma.ts";

/** How this proxy reaches endpoints. Per process. */
export interface ReachOptions {
  readonly driver: Driver;
  readonly metrics: ProxyMetrics;
  readonly sourceIp: string | null;
  /** What is exempt from mutual TLS, with loopback; null: nothing. */
  readonly podIps: readonly string[] | null;
  readonly connectMs: number;
  readonly keepAliveMs?: number | null;
  /** How long an endpoint that cannot be reached is left alone; one for each endpoint. */
  backoff(): Backoff;
  /** For the jitter of ejections. */
  readonly random: () => number;
  readonly poolIdleMs: number;
  readonly maxIdle: number;
  readonly maxOpen: number;
  readonly maxHeadBytes: number;
  /** What is spoken to every endpoint; absent: what its protocol hint says. */
  readonly protocol?: EndpointProtocol;
  /** Of HTTP/2 connections; absent: the defaults. */
  readonly http2?: Http2Knobs;
}

/** The target that an endpoint is of. */
export interface EndpointOwner {
  /** Who waits for a connection to any of its endpoints. */
  readonly queues: Iterable<ConnectQueue>;
  /** Sends a request again that `from` did not process; null: it stays there. */
  replay: ((x: Exchange, reply: Reply, from: EndpointState) => Sink | null) | null;
}

/** What `connect` needs to reach an endpoint. Mesh TLS whenever the endpoint has an identity. */
export function connectTo(endpoint: Endpoint, o: ReachOptions): ConnectTo {
  const { identity, transportPort, addr } = endpoint;
  const local = isPodLocal(addr.ip, o.podIps);
  const tls = identity === null || local ? null : {
    serverName: identity.serverName,
    identity: identity.name,
    alpn: transportPort > 0 ? TRANSPORT_ALPN : null,
  };
  const port = tls !== null && transportPort > 0 ? transportPort : addr.port;
  return {
    addr: { ip: addr.ip, port },
    from: o.sourceIp,
    timeoutMs: o.connectMs,
    keepAliveMs: o.keepAliveMs ?? null,
    tls,
  };
}

/** The transport header of a connection to it, or null when it is reached directly. */
export function prefaceFor(
  endpoint: Endpoint,
  to: ConnectTo,
  protocol: "http1" | "http2" | "opaque",
): Uint8Array | null {
  if (to.tls === null || endpoint.transportPort === 0) return null;
  const { addr, authority = "" } = endpoint;
  const colon = authority.indexOf(":");
  // A gateway is told which service to go on to; without a port it cannot be.
  return colon < 0
    ? encodeTransportHeader({ port: addr.port, name: "", protocol })
    : encodeTransportHeader({
      port: Number(authority.slice(colon + 1)),
      name: authority.slice(0, colon),
      protocol,
    });
}

/** What is spoken to an endpoint whose hint says so: only a proxy makes HTTP/1 of HTTP/2 again. */
function protocolOf(endpoint: Endpoint, to: ConnectTo): EndpointProtocol {
  return endpoint.hint === "h2" && to.tls !== null ? "mesh" : "same";
}

/** What an endpoint wants of its HTTP/2 connections, else what is configured. */
function http2Of({ http2 }: Endpoint, o: Http2Knobs): Http2Knobs {
  if (http2 === undefined) return o;
  const { keepAlive, windows } = http2;
  return {
    keepAlive: keepAlive ?? o.keepAlive,
    streamWindowBytes: windows?.stream ?? o.streamWindowBytes,
    connectionWindowBytes: windows?.connection ?? o.connectionWindowBytes,
  };
}

export class EndpointState implements LoadListener, Dialled {
  readonly endpoint: Endpoint;
  readonly name: string;
  readonly ewma: PeakEwma;
  readonly client: EndpointClients;
  readonly requests: RequestSeries;
  readonly #tcp: ConnectionSeries;
  readonly #o: ReachOptions;
  readonly #isFailure: (status: number) => boolean;
  readonly connect: ConnectTo;
  readonly #backoff: Backoff;
  readonly #breaker: Breaker | null;
  readonly #owner: EndpointOwner | null;
  /** After the last connection that could not be made; 0: it was made. */
  #waitMs = 0;
  /** Not connected to before, while there is another; by the driver's clock. */
  awayUntilMs = 0;
  /** Open connections. */
  connections = 0;
  /** Connections that carry no requests: open, or being made. */
  tunnels = 0;

  constructor(
    endpoint: Endpoint,
    authority: string,
    o: ReachOptions,
    ewma: { defaultRttMs: number; decayMs: number },
    accrual: FailureAccrual | null,
    isFailure: (status: number) => boolean,
    together?: PendingCount,
    owner: EndpointOwner | null = null,
  ) {
    this.#owner = owner;
    this.endpoint = endpoint;
    this.name = formatSocketAddr(endpoint.addr);
    this.#o = o;
    this.#isFailure = isFailure;
    this.ewma = new PeakEwma(ewma.defaultRttMs, ewma.decayMs, o.driver.now, together);
    this.connect = connectTo(endpoint, o);
    this.#backoff = o.backoff();
    this.#breaker = accrual === null ? null : new Breaker(accrual, o.random, o.driver.now);
    const labels = endpointLabels(endpoint, authority, this.connect, o);
    this.requests = new RequestSeries(o.metrics, labels);
    const locality = localityOf(endpoint.labels);
    this.#tcp = new ConnectionSeries(o.metrics, { ...labels, peer: "dst" }, locality);
    this.client = new EndpointClients({
      driver: o.driver,
      connect: this.connect,
      name: this.name,
      protocol: o.protocol ?? protocolOf(endpoint, this.connect),
      preface: (protocol) => prefaceFor(endpoint, this.connect, protocol),
      metrics: o.metrics,
      direction: "outbound",
      http2: http2Of(endpoint, o.http2 ?? DEFAULT_HTTP2),
      maxHeadBytes: o.maxHeadBytes,
      idleMs: o.poolIdleMs,
      maxIdle: o.maxIdle,
      maxOpen: o.maxOpen,
      again: (x, reply) => owner?.replay?.(x, reply, this) ?? null,
    }, this);
  }

  /** No connection could be made, and it is too early to try again: others are asked first. */
  isAway(nowMs: number): boolean {
    return nowMs < this.awayUntilMs;
  }

  /** Its answers were bad: it is left alone, also when there is no other. */
  isEjected(nowMs: number): boolean {
    return this.#breaker !== null && !this.#breaker.admits(nowMs);
  }

  get isOpen(): boolean {
    return this.client.http2.isOpen;
  }

  dial(isHttp2: boolean): boolean {
    return this.client.dial(isHttp2);
  }

  unreachable(why: ChanError | null): void {
    this.#waitMs = this.#backoff.next();
    this.awayUntilMs = this.#o.driver.now + this.#waitMs;
    if (this.#owner === null) return;
    const text = `Connect to ${this.name} failed: ${why?.message ?? "closed"}`;
    for (const queue of this.#owner.queues) queue.failed(text);
  }

  connected(ch: Chan): void {
    this.#o.driver.meter(ch, this.#tcp);
    if (this.#waitMs > 0) {
      this.#backoff.reset();
      this.#waitMs = 0;
      this.awayUntilMs = 0;
    }
    this.connections++;
    if (this.#owner !== null) { for (const queue of this.#owner.queues) queue.connected(); }
    this.#tcp.opened();
    if (this.connect.tls !== null) this.#o.metrics.mtlsConnections++;
    else if (!isPodLocal(this.endpoint.addr.ip, this.#o.podIps)) {
      this.#o.metrics.plaintextConnections++;
    }
  }

  disconnected(): void {
    this.connections--;
    this.#tcp.closed();
  }

  started(): void {
    this.ewma.pending++;
    // One request finds out whether it is back; the others wait for what it finds.
    if (this.#waitMs > 0) this.awayUntilMs = this.#o.driver.now + this.#waitMs;
    this.#breaker?.started();
    this.requests.started();
  }

  answered(ms: number): void {
    this.ewma.pending--;
    this.ewma.observe(ms, this.#o.driver.now);
  }

  /** A status means that `answered` came first. */
  ended(status: number, ms: number, outcome: ExchangeOutcome, grpcStatus = -1): void {
    if (status === 0) this.ewma.pending--;
    const bad = outcome !== "ok" || this.#isFailure(status);
    if (outcome === "abandoned") this.#breaker?.abandoned();
    else this.#breaker?.ended(bad, this.#o.driver.now, status === TOO_MANY_REQUESTS);
    this.requests.ended(status, bad, ms, "", grpcStatus);
  }
}

const TOO_MANY_REQUESTS = 429;

function endpointLabels(
  endpoint: Endpoint,
  authority: string,
  to: ConnectTo,
  o: ReachOptions,
): Labels {
  const labels: Record<string, string> = {
    direction: "outbound",
    authority,
    target_addr: formatSocketAddr(endpoint.addr),
    target_ip: endpoint.addr.ip,
    target_port: String(endpoint.addr.port),
  };
  if (to.tls !== null) {
    labels["tls"] = "true";
    labels["server_id"] = to.tls.identity;
  } else {
    labels["tls"] = "no_identity";
    labels["no_tls_reason"] = isPodLocal(endpoint.addr.ip, o.podIps)
      ? "loopback"
      : "not_provided_by_service_discovery";
  }
  for (const [key, value] of Object.entries(endpoint.labels)) labels[`dst_${key}`] = value;
  return labels;
}
