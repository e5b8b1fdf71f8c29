// What all connections of a listener share: bounds, and who hears of what. Of `server.ts`, and of HTTP/2's
// server too.

import type { MeshError } from "../../core/errors.ts";
import type { ConnInfo, HttpService } from "../../core/exchange.ts";

/** What all connections of a listener share. */
export interface ServerOptions {
  readonly service: HttpService;
  readonly maxHeadBytes: number;
  /** From the first byte of a head to its last. */
  readonly headMs: number;
  /** Between requests. */
  readonly idleMs: number;
  /** How long a client may say nothing of a body that it announced, or take nothing of a response that
   * waits for it; five minutes unless set. */
  readonly stallMs?: number;
  /** Whether this client is told `l5d-proxy-error`. */
  tellMesh(conn: ConnInfo): boolean;
  /** A request that was refused before it reached the service. */
  refused(why: MeshError, conn: ConnInfo): void;
  /** A client was ended because it said (`slow`) or took (`stalled`) nothing. */
  stalled?(bound: "slow" | "stalled", conn: ConnInfo): void;
  /** True once the process drains: connections end after their current response. */
  draining(): boolean;
  /** Exchanges in progress, over all connections of the process. */
  readonly inFlight: { count: number };
}
