// How long series stay that nothing is counted in, and what happens when there are too many. One timer a
// thread; requests know nothing of it.

import type { Driver } from "../../core/driver.ts";
import type { Logger } from "../../core/log.ts";
import { MAX_SERIES } from "../../core/sheet.ts";
import { createTimer } from "../../core/timers.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** Linkerd's default of `LINKERD2_PROXY_METRICS_RETAIN_IDLE`. */
export const RETAIN_IDLE_MS = 600_000;
/** Idle series are looked for this often, or more often where they stay for a short time. */
const MAX_SWEEP_MS = 60_000;
const MIN_SWEEP_MS = 1_000;

/**
 * Drops a thread's idle series from now on: those of requests, routes, balancers and connections, some
 * time after `retainIdleMs`. Says so once per family when there are too many series. Returns what ends it.
 */
export function retainSeries(
  { driver, metrics, log }: {
    readonly driver: Driver;
    readonly metrics: ProxyMetrics;
    readonly log: Logger;
  },
  retainIdleMs: number,
): () => void {
  const { sheet } = metrics;
  const everyMs = Math.min(MAX_SWEEP_MS, Math.max(MIN_SWEEP_MS, retainIdleMs / 10));
  sheet.onOverflow = ({ name }) => {
    log.warn("Too many metric series: more are counted in one with overflow=true", {
      family: name,
      bound: MAX_SERIES,
    });
  };
  // Made first, so that there is room for it.
  const refused = sheet.cell(metrics.seriesRefused, {});
  const timer = createTimer(() => {
    sheet.sweep(driver.now, retainIdleMs);
    sheet.set(refused, sheet.overflows);
    driver.timers.arm(timer, driver.now + everyMs);
  });
  driver.timers.arm(timer, driver.now + everyMs);
  return () => driver.timers.cancel(timer);
}
