// The data plane as the control side of the process sees it: in this thread (`one-thread.ts`) or in
// workers (`workers/fleet.ts`). `main.ts` and `static.ts` decide which and wire the rest once.

import type { SocketAddr } from "../core/addr.ts";
import type { FilterEngine } from "../core/filter.ts";
import type { LogLevel } from "../core/log.ts";
import type { Discovery } from "./discovery/discovery.ts";
import type { PlaneReport } from "./report.ts";
import type { TlsCredentials } from "./workers/protocol.ts";

/** A data plane in one thread or several. Calls in this order, `report` at any time after `begin`. */
export interface Serving {
  /** Prepares filters for wherever they will run. */
  readonly engine: FilterEngine;
  /** Builds the data plane on what is known. Nothing is accepted yet. */
  begin(discovery: Discovery): void;
  /** For connections from now on. */
  credentials(credentials: TlsCredentials): void;
  /** Begins to accept; the bound addresses. Rejects with one line that names what failed. */
  listen(): Promise<readonly SocketAddr[]>;
  logLevel(level: LogLevel): void;
  report(): Promise<PlaneReport>;
  /** From the call of `drain` on. */
  readonly isDraining: boolean;
  /** No new connections; open ones finish their requests, for at most so long. */
  drain(graceMs: number): Promise<void>;
  /** Ends every connection that is left, and lets discovery go. */
  close(): Promise<void>;
}
