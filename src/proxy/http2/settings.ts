// What accepted HTTP/2 connections announce unless the environment says otherwise, and how the bounds
// that peers run into are counted. Per process; `serve.ts` hands it to both directions.

import type { ConnInfo } from "../../core/exchange.ts";
import type { Logger } from "../../core/log.ts";
import type { Family } from "../../core/sheet.ts";
import type { ProxyMetrics } from "../metrics.ts";
import type { Http2Server, Http2Settings } from "./server.ts";
import type { Flood } from "./session-options.ts";

/** Linkerd's windows. */
const STREAM_WINDOW_BYTES = 65_535;
const CONNECTION_WINDOW_BYTES = 1_048_576;
/** RFC 9113 §6.5.2 recommends no fewer. */
const MAX_CONCURRENT_STREAMS = 100;
/** A client that reads nothing of a response for so long gets no more of it. */
const STALL_MS = 300_000;

/** What of it is configured; null: the default. */
export interface Http2Config {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly maxConcurrentStreams: number | null;
  readonly keepAlive: Http2Settings["keepAlive"];
  readonly maxFrameBytes: number | null;
  readonly maxHeaderListBytes: number | null;
  /** Streams that a client may reset before its connection is ended. */
  readonly maxPendingResets: number | null;
}

/** Settings of one direction. `sessions` are the connections that a drain ends. */
export function http2Settings(o: {
  readonly metrics: ProxyMetrics;
  readonly log: Logger;
  readonly sessions: Set<Http2Server>;
  readonly config?: Http2Config | undefined;
}): Http2Settings {
  const { metrics, log, sessions, config } = o;
  const family = boundsFamily(metrics);
  return {
    streamWindowBytes: config?.streamWindowBytes ?? STREAM_WINDOW_BYTES,
    connectionWindowBytes: config?.connectionWindowBytes ?? CONNECTION_WINDOW_BYTES,
    maxConcurrentStreams: config?.maxConcurrentStreams ?? MAX_CONCURRENT_STREAMS,
    keepAlive: config?.keepAlive ?? null,
    maxFrameBytes: config?.maxFrameBytes ?? undefined,
    maxHeadBytes: config?.maxHeaderListBytes ?? undefined,
    maxResets: config?.maxPendingResets ?? undefined,
    stallMs: STALL_MS,
    sessions,
    flooded(what: Flood, conn: ConnInfo) {
      metrics.count(family, { direction: conn.direction, peer: "src", bound: what });
      log.debug("an HTTP/2 client ran into a bound", { bound: what, client: conn.remote.ip });
    },
  };
}

/** Counts the bounds that peers of either side ran into. */
export function boundsFamily(metrics: ProxyMetrics): Family {
  return metrics.sheet.family(
    "http2_bounds_total",
    "counter",
    "HTTP/2 peers that ran into a bound: floods, slow and stalled connections",
  );
}
