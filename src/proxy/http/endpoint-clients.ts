// The connections to one address, of both protocols, and which of them a request takes. Used by the
// outbound endpoints and by the inbound ports; the clients themselves know only their own protocol.

import { formatSocketAddr } from "../../core/addr.ts";
import type { ConnectTo, Driver } from "../../core/driver.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import type { RequestHead } from "../../core/head.ts";
import { EndpointClient, type LoadListener } from "../http1/endpoint-client.ts";
import { Http2EndpointClient } from "../http2/endpoint-client.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { mayExtend } from "../http2/extended-connect.ts";
import { boundsFamily } from "../http2/settings.ts";
import type { SessionOptions } from "../http2/session-options.ts";
import { UpgradeWait } from "./upgrade-wait.ts";

/**
 * What is spoken to an address. `same`: what the client speaks. `mesh`: HTTP/2, which also carries
 * HTTP/1 for a proxy on the other side that makes HTTP/1 of it again (orig-proto).
 */
export type EndpointProtocol = "http1" | "http2" | "same" | "mesh";

/** What of HTTP/2 connections is configured. */
export type Http2Knobs = Pick<
  SessionOptions,
  "streamWindowBytes" | "connectionWindowBytes" | "keepAlive"
>;

/** Linkerd's windows, and no PINGs. */
export const DEFAULT_HTTP2: Http2Knobs = {
  streamWindowBytes: 65_535,
  connectionWindowBytes: 1_048_576,
  keepAlive: null,
};

/** How connections to an address are made and kept. */
export interface EndpointClientsOptions {
  readonly driver: Driver;
  readonly connect: ConnectTo;
  readonly name: string;
  readonly protocol: EndpointProtocol;
  /** The transport header of a connection that speaks the protocol, or null. */
  preface(protocol: "http1" | "http2"): Uint8Array | null;
  readonly maxHeadBytes: number;
  /** An idle HTTP/1 connection is closed after this long. */
  readonly idleMs: number;
  readonly maxIdle: number;
  /** Connections at once, of each protocol. */
  readonly maxOpen: number;
  readonly http2: Http2Knobs;
  readonly metrics: ProxyMetrics;
  readonly direction: "inbound" | "outbound";
  /**
   * Sends a request again that was not processed, and says who takes what is left of it; null: it had
   * better stay with this address. Absent: it stays.
   */
  again?(x: Exchange, reply: Reply): Sink | null;
}

/** For the peer's SETTINGS, and for a frame or header block that began. */
const HEAD_MS = 10_000;
/** One connection serves many requests, so that an idle one is kept for longer than of HTTP/1. */
const HTTP2_IDLE_MS = 300_000;
/** Requests that wait for an HTTP/2 connection. */
const MAX_WAITING = 10_000;

export class EndpointClients {
  readonly #protocol: EndpointProtocol;
  readonly http1: EndpointClient;
  readonly http2: Http2EndpointClient;

  constructor(o: EndpointClientsOptions, load: LoadListener) {
    this.#protocol = o.protocol;
    const bounds = boundsFamily(o.metrics);
    const again = (x: Exchange, reply: Reply) => o.again?.(x, reply) ?? null;
    this.http1 = new EndpointClient({ ...o, preface: o.preface("http1"), again }, load);
    this.http2 = new Http2EndpointClient({
      driver: o.driver,
      connect: o.connect,
      name: o.name,
      authority: formatSocketAddr(o.connect.addr),
      preface: o.preface("http2"),
      maxOpen: o.maxOpen,
      maxWaiting: MAX_WAITING,
      origProto: o.protocol === "mesh",
      again,
      flooded: (bound) => o.metrics.count(bounds, { direction: o.direction, peer: "dst", bound }),
      session: {
        ...o.http2,
        role: "client",
        maxConcurrentStreams: 0,
        maxHeadBytes: o.maxHeadBytes,
        headMs: HEAD_MS,
        idleMs: HTTP2_IDLE_MS,
        // How long a response may take, and a request be read, is the route's to say.
        stallMs: Infinity,
      },
    }, load);
  }

  /** Open connections, idle ones included. */
  get open(): number {
    return this.http1.open + this.http2.open;
  }

  /** Whether a request has to wait for a connection that is not made yet. */
  mustConnect(request: RequestHead): boolean {
    return this.isHttp2(request) ? !this.http2.hasRoom : !this.http1.hasIdle;
  }

  /** Whether a request waits for a connection that others can use too, and there is none. */
  isCold(request: RequestHead): boolean {
    return this.isHttp2(request) && !this.http2.isOpen;
  }

  /**
   * Begins a connection of HTTP/2 unless there is one; false: what is asked for is HTTP/1, whose
   * connections are made by requests.
   */
  dial(isHttp2: boolean): boolean {
    if (this.#protocol === "http1" || (this.#protocol === "same" && !isHttp2)) return false;
    this.http2.dial();
    return true;
  }

  /** Sends a request again that a kept connection lost: over HTTP/1 on a new one. */
  redispatch(x: Exchange, reply: Reply): Sink {
    return this.isHttp2(x.request) ? this.http2.dispatch(x, reply) : this.http1.fresh(x, reply);
  }

  /** Sends a request to the address. */
  dispatch(x: Exchange, reply: Reply): Sink {
    const { request } = x;
    if (request.upgrade && this.#protocol !== "http2") return this.#upgrade(x, reply);
    const isHttp2 = this.isHttp2(request);
    return isHttp2 ? this.http2.dispatch(x, reply) : this.http1.dispatch(x, reply);
  }

  /** Whether a request goes over HTTP/2. */
  isHttp2(head: RequestHead): boolean {
    if (head.isConnect) return false; // becomes a tunnel of bytes
    switch (this.#protocol) {
      case "http1":
        return false;
      case "http2":
        return true;
      case "same":
        return head.major === 2;
      case "mesh":
        return true;
    }
  }

  /**
   * What may become a tunnel goes over HTTP/2 where that can say so and the peer takes it, else over a
   * connection of HTTP/1 of its own. An address that speaks HTTP/2 only ignores the wish.
   */
  #upgrade(x: Exchange, reply: Reply): Sink {
    const { request } = x;
    const may = this.#protocol === "mesh" || (this.#protocol === "same" && request.major === 2);
    const { http1, http2 } = this;
    if (!may || http2.extends === false || !mayExtend(request)) return http1.dispatch(x, reply);
    if (http2.extends === true) return http2.dispatch(x, reply);
    const wait = new UpgradeWait();
    http2.learn(() =>
      wait.go(() => http2.extends === true ? http2.dispatch(x, reply) : http1.dispatch(x, reply))
    );
    return wait;
  }

  /** The address left its set: idle connections end, busy ones finish. */
  close(): void {
    this.http1.close();
    this.http2.close();
  }
}
