// One accepted HTTP/2 connection: each stream is a request for the service. The session below does
// frames and windows, `server-stream.ts` is the reply that a service answers; here is what they share.

import type { Driver } from "../../core/driver.ts";
import type { MeshError } from "../../core/errors.ts";
import type { ConnInfo } from "../../core/exchange.ts";
import type { ServerOptions } from "../http1/server-options.ts";
import { ServerStream } from "./server-stream.ts";
import { Http2Session } from "./session.ts";
import type { Flood, SessionOptions, SessionOwner } from "./session-options.ts";
import type { Http2Stream } from "./stream.ts";

/** What accepted HTTP/2 connections of a listener announce, and how they watch their peer. */
export interface Http2Settings {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly maxConcurrentStreams: number;
  readonly stallMs: number;
  readonly keepAlive: SessionOptions["keepAlive"];
  readonly maxFrameBytes?: number | undefined;
  readonly maxResets?: number | undefined;
  /** A smaller bound of heads than that of HTTP/1. */
  readonly maxHeadBytes?: number | undefined;
  /** Called when a peer ran into a bound. */
  flooded(what: Flood, conn: ConnInfo): void;
  /** Connections to drain when the process does; each adds itself. */
  readonly sessions: Set<Http2Server>;
}

/** What all connections of a listener share. */
export interface Http2ServerOptions extends ServerOptions {
  readonly http2: Http2Settings;
}

/** Streams for the next requests, of all connections of the thread. */
const spare: ServerStream[] = [];
const MAX_SPARE = 256;

export class Http2Server implements SessionOwner {
  /** The core of the connection. */
  readonly session: Http2Session;
  readonly options: Http2ServerOptions;
  readonly driver: Driver;
  readonly conn: ConnInfo;
  /** Whether this client is told `l5d-proxy-error`. */
  readonly tell: boolean;
  readonly maxHeadBytes: number;

  constructor(driver: Driver, conn: ConnInfo, options: Http2ServerOptions) {
    this.driver = driver;
    this.conn = conn;
    this.options = options;
    this.tell = options.tellMesh(conn);
    const { http2, headMs, idleMs } = options;
    const maxHeadBytes = Math.min(options.maxHeadBytes, http2.maxHeadBytes ?? Infinity);
    this.maxHeadBytes = maxHeadBytes;
    this.session = new Http2Session(
      driver,
      { ...http2, role: "server", maxHeadBytes, headMs, idleMs },
      this,
    );
    http2.sessions.add(this);
    if (options.draining()) this.drain();
  }

  /** No new streams; the connection ends with the last one. */
  drain(): void {
    this.session.drain();
  }

  incoming(): Http2Stream {
    const stream = spare.pop() ?? new ServerStream(this);
    stream.begin(this);
    return stream;
  }

  /** A stream whose exchange is over. */
  recycle(stream: ServerStream): void {
    if (spare.length < MAX_SPARE) spare.push(stream);
  }

  /** A request that never reached the service. */
  refused(why: MeshError): void {
    this.options.refused(why, this.conn);
  }

  settled(): void {}

  goneAway(): void {}

  flooded(what: Flood): void {
    this.options.http2.flooded(what, this.conn);
  }

  over(): void {}

  // Not before: a process that drains ends with its last session, and with it what was not sent yet.
  gone(): void {
    this.options.http2.sessions.delete(this);
  }
}
