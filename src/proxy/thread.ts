// One data-plane thread and what is made once in it: driver, TLS, metrics, timers, drain. The main
// thread of a small proxy is one, and so is each worker of a large one; what they serve is built on
// it by `data-plane.ts` and `static-plane.ts`, which know no runtime.

import { delay } from "../core/clock.ts";
import type { Listener } from "../core/listen.ts";
import type { Logger } from "../core/log.ts";
import { createTimer } from "../core/timers.ts";
import { MeshTls } from "../runtime/mesh-tls.ts";
import { NetDriver } from "../runtime/net-driver.ts";
import { listen } from "../runtime/net-listener.ts";
import { SYSTEM_CLOCK } from "../runtime/process.ts";
import { ProxyMetrics } from "./metrics.ts";
import { Draining, type PlaneThread } from "./serve.ts";

/** A thread, with what only its owner may touch. */
export interface OwnThread extends PlaneThread {
  /** Takes each new certificate. */
  readonly mesh: MeshTls;
  /** The driver's wheel as a clock's `after`: ticks of filters fire in its turns. */
  after(ms: number, fire: () => void): () => void;
  /** Ends every connection at once. */
  destroy(): void;
}

/** Makes a thread's data-plane parts. One for each thread. */
export function createThread(log: Logger): OwnThread {
  const mesh = new MeshTls();
  const driver = new NetDriver(mesh);
  driver.onDefect = (e) => log.error("a connection was ended by a defect", { error: stackOf(e) });
  return {
    driver,
    mesh,
    metrics: new ProxyMetrics(),
    draining: new Draining(),
    log,
    listen: ({ meshTls, ...rest }) => listen(driver, { ...rest, mesh: meshTls ? mesh : null }),
    after: (ms, fire) => {
      const timer = createTimer(fire);
      driver.timers.arm(timer, SYSTEM_CLOCK.now() + ms);
      return () => driver.timers.cancel(timer);
    },
    destroy: () => driver.destroy(),
  };
}

/** No new connections; those that are open finish their requests, for a bounded time. */
export async function drain(
  draining: Draining,
  listeners: readonly Listener[],
  graceMs: number,
): Promise<void> {
  draining.active = true;
  for (const listener of listeners) void listener.close();
  const deadline = SYSTEM_CLOCK.now() + graceMs;
  while (draining.inFlight.count > 0 && SYSTEM_CLOCK.now() < deadline) {
    await delay(SYSTEM_CLOCK, 20);
  }
}

function stackOf(e: unknown): string {
  return e instanceof Error ? (e.stack ?? e.message) : String(e);
}
