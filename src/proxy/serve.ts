// What both kinds of proxy process share: the knobs of the data plane that come from configuration,
// and draining. Knows no runtime; `main.ts` hands everything in.

import { Backoff } from "../core/clock.ts";
import type { Driver } from "../core/driver.ts";
import type { ConnInfo } from "../core/exchange.ts";
import type { Listen } from "../core/listen.ts";
import type { Logger } from "../core/log.ts";
import type { EndpointProtocol, Http2Knobs } from "./http/endpoint-clients.ts";
import type { Http2Server, Http2ServerOptions } from "./http2/server.ts";
import { type Http2Config, http2Settings } from "./http2/settings.ts";
import type { ApplicationWait } from "./inbound/await-application.ts";
import type { ReachOptions } from "./outbound/endpoint.ts";
import type { OutboundOptions } from "./outbound/stack.ts";
import type { ProxyMetrics } from "./metrics.ts";
import { HTTP_ERRORS } from "./metrics/errors.ts";

/** A head over this is refused with 431. */
export const MAX_HEAD_BYTES = 64 * 1024;
/** A request head must be whole this long after its first byte. */
const HEAD_MS = 10_000;
/** A connection without a request is closed after this long. */
const CLIENT_IDLE_MS = 600_000;
/** HTTP/1 connections to one endpoint at once. */
const MAX_CONNECTIONS_PER_ENDPOINT = 10_000;

/** Whether the process is going away, and whoever asks. */
export class Draining {
  #active = false;
  /** HTTP/2 connections, which must be told: they take requests until they are. */
  readonly sessions = new Set<Http2Server>();
  /** Exchanges in progress. */
  readonly inFlight = { count: 0 };
  readonly is = (): boolean => this.#active;

  get active(): boolean {
    return this.#active;
  }

  set active(active: boolean) {
    this.#active = active;
    if (active) { for (const session of [...this.sessions]) session.drain(); }
  }
}

/** What a data plane is built on. */
export interface PlaneThread {
  readonly driver: Driver;
  readonly metrics: ProxyMetrics;
  readonly draining: Draining;
  readonly log: Logger;
  readonly listen: Listen;
  /** Takes whole lines for standard error; false: there is no room, and they are lost. */
  writeLines(text: string): boolean;
}

/** Options of accepted HTTP connections. */
export function serverOptions(o: {
  metrics: ProxyMetrics;
  log: Logger;
  draining: Draining;
  tellMesh: (conn: ConnInfo) => boolean;
  http2?: Http2Config;
}): Omit<Http2ServerOptions, "service"> {
  const { metrics, log } = o;
  const bounds = metrics.sheet.family(
    "http1_bounds_total",
    "counter",
    "HTTP/1 clients that were ended for saying or taking nothing within an exchange",
  );
  return {
    maxHeadBytes: MAX_HEAD_BYTES,
    headMs: HEAD_MS,
    idleMs: CLIENT_IDLE_MS,
    tellMesh: o.tellMesh,
    draining: o.draining.is,
    inFlight: o.draining.inFlight,
    http2: http2Settings({ metrics, log, sessions: o.draining.sessions, config: o.http2 }),
    stalled(bound, conn) {
      metrics.count(bounds, { direction: conn.direction, peer: "src", bound });
      log.debug("an HTTP/1 client ran into a bound", { bound, client: conn.remote.ip });
    },
    refused(why, conn) {
      const family = conn.direction === "inbound" ? metrics.inboundErrors : metrics.outboundErrors;
      metrics.count(family, { error: HTTP_ERRORS[why.kind] ?? why.kind });
      log.debug("refused a request", { why: why.message, client: conn.remote.ip });
    },
  };
}

/** How endpoints are reached. */
export function reachOptions(o: {
  driver: Driver;
  metrics: ProxyMetrics;
  sourceIp: string | null;
  podIps: readonly string[] | null;
  connectMs: number;
  keepAliveMs?: number | null;
  /** Linkerd's defaults unless set. */
  backoff?: () => Backoff;
  poolIdleMs: number;
  maxIdle: number;
  /** What is spoken to every endpoint. */
  protocol?: EndpointProtocol;
  http2?: Http2Knobs;
}): ReachOptions {
  const backoff = o.backoff ?? (() => new Backoff(100, 60_000, 0.1, Math.random));
  return {
    ...o,
    backoff,
    random: Math.random,
    maxOpen: MAX_CONNECTIONS_PER_ENDPOINT,
    maxHeadBytes: MAX_HEAD_BYTES,
  };
}

/** Defaults of a proxy without environment: Linkerd's. */
export const STATIC_OUTBOUND: Omit<OutboundOptions, "inFlight"> = {
  failfastMs: 3000,
  queueCapacity: 10_000,
  replayMaxBytes: 64 * 1024,
  maxInFlight: 100_000,
  random: Math.random,
};

/** The same of an inbound side: how its requests wait for the application. */
export const STATIC_INBOUND_WAIT: ApplicationWait = {
  failfastMs: 1000,
  capacity: 10_000,
  backoff: () => new Backoff(100, 10_000, 0.1, Math.random),
};
