// One data-plane thread and what is made once in it: driver, TLS, metrics, filter engine. The main
// thread of a small proxy is one, and so is each worker of a large one; what they serve is built on
// it by `data-plane.ts` and `static-plane.ts`, which know no runtime.

import type { FilterEngine, FilterPorter } from "../core/filter.ts";
import type { Logger } from "../core/log.ts";
import type { Sheet } from "../core/sheet.ts";
import { createTimer } from "../core/timers.ts";
import { MeshTls } from "../runtime/mesh-tls.ts";
import { NetDriver } from "../runtime/net-driver.ts";
import { listen, type OriginalOf } from "../runtime/net-listener.ts";
import { SYSTEM_CLOCK, writeErrorLines } from "../runtime/process.ts";
import { clockCost } from "../../wasm/host/budget.ts";
import { createEngine, type EngineOptions } from "../../wasm/host/engine.ts";
import { ProxyMetrics } from "./metrics.ts";
import type { OwnThread } from "./one-thread.ts";
import { Draining } from "./serve.ts";

/** What differs between threads. */
export interface ThreadOptions {
  /** A worker's, which main sees; the thread's own unless given. */
  readonly sheet?: Sheet;
  /** Other threads listen on the same addresses. */
  readonly sharesAddresses?: boolean;
  readonly engine?: Pick<EngineOptions, "cells" | "locate">;
  /** A test's, in place of the kernel's redirect. */
  readonly originalOf?: OriginalOf;
}

/** A thread with the TLS that the control side's clients use too. */
export interface Thread extends OwnThread {
  readonly mesh: MeshTls;
  readonly engine: FilterEngine & FilterPorter;
}

/** Makes a thread's data-plane parts. One for each thread. */
export function createThread(log: Logger, o: ThreadOptions = {}): Thread {
  const mesh = new MeshTls();
  const driver = new NetDriver(mesh);
  driver.onDefect = (e) => log.error("a connection was ended by a defect", { error: stackOf(e) });
  const reusePort = o.sharesAddresses ?? false;
  return {
    clock: SYSTEM_CLOCK,
    driver,
    mesh,
    metrics: new ProxyMetrics(o.sheet, SYSTEM_CLOCK.wall),
    draining: new Draining(),
    log,
    writeLines: writeErrorLines,
    listen: ({ meshTls, ...rest }) =>
      listen(driver, {
        ...rest,
        mesh: meshTls ? mesh : null,
        reusePort,
        ...(o.originalOf === undefined ? {} : { originalOf: o.originalOf }),
      }),
    engine: createEngine({
      ...o.engine,
      clock: SYSTEM_CLOCK,
      clockNs: clockCost(SYSTEM_CLOCK.now),
      log: log.with("filter"),
      // The driver's wheel, so that ticks of filters fire in its turns.
      after: (ms, fire) => {
        const timer = createTimer(fire);
        driver.timers.arm(timer, SYSTEM_CLOCK.now() + ms);
        return () => driver.timers.cancel(timer);
      },
    }),
    credentials: (credentials) => mesh.update(credentials),
    destroy: () => driver.destroy(),
  };
}

function stackOf(e: unknown): string {
  return e instanceof Error ? (e.stack ?? e.message) : String(e);
}
