// A data plane in the thread of the control side: the right thing for a small proxy, which most are.
// Everything is a call; nothing is copied.

import { type Clock, delay } from "../core/clock.ts";
import type { FilterEngine } from "../core/filter.ts";
import type { Listener } from "../core/listen.ts";
import type { DataPlane } from "./data-plane.ts";
import type { Discovery } from "./discovery/discovery.ts";
import { endpointReports, type PlaneReport } from "./report.ts";
import type { Draining, PlaneThread } from "./serve.ts";
import type { Serving } from "./serving.ts";
import type { TlsCredentials } from "./workers/protocol.ts";

/** A thread with what its owner alone may touch. */
export interface OwnThread extends PlaneThread {
  readonly clock: Clock;
  readonly engine: FilterEngine;
  /** Takes each new certificate. */
  credentials(credentials: TlsCredentials): void;
  /** Ends every connection at once. */
  destroy(): void;
}

/** Serves with `build` on `thread`. */
export function serveInOneThread(
  thread: OwnThread,
  build: (discovery: Discovery, thread: PlaneThread) => DataPlane,
): Serving {
  const { engine, draining, clock } = thread;
  let plane: DataPlane | null = null;
  let listeners: readonly Listener[] = [];
  const built = () => {
    if (plane === null) throw new Error("the data plane was not begun");
    return plane;
  };
  return {
    engine,
    begin: (discovery) => {
      plane = build(discovery, thread);
    },
    credentials: (credentials) => thread.credentials(credentials),
    async listen() {
      listeners = await built().listen();
      return listeners.map(({ addr }) => addr);
    },
    logLevel: () => {}, // the logger's threshold is this thread's own
    report: () => Promise.resolve(threadReport(thread, built())),
    get isDraining() {
      return draining.active;
    },
    drain: (graceMs) => drain(draining, listeners, graceMs, clock),
    close() {
      plane?.release();
      thread.destroy();
      return Promise.resolve();
    },
  };
}

/** What a thread tells of itself. */
export function threadReport(thread: OwnThread, plane: DataPlane): PlaneReport {
  const { metrics, engine, driver } = thread;
  return {
    sheet: metrics.sheet,
    mtlsConnections: metrics.mtlsConnections,
    plaintextConnections: metrics.plaintextConnections,
    endpoints: endpointReports(plane.targets, driver.now),
    filterStats: engine.stats(),
    filterSeries: engine.series(),
  };
}

/** No new connections; those that are open finish their requests, for a bounded time. */
export async function drain(
  draining: Draining,
  listeners: readonly Listener[],
  graceMs: number,
  clock: Clock,
): Promise<void> {
  draining.active = true;
  for (const listener of listeners) void listener.close();
  const deadline = clock.now() + graceMs;
  // An HTTP/2 client may have sent requests before it read that no more are taken.
  const busy = () => draining.inFlight.count > 0 || draining.sessions.size > 0;
  while (busy() && clock.now() < deadline) await delay(clock, 20);
}
