// Counts an accepted connection while it is open, without standing between the driver and its core.

import type { Core } from "../../core/driver.ts";
import type { ConnectionSeries } from "../metrics/connections.ts";

/** `core`, with `tcp_open_total` and its kin counted. */
export function counted<T extends Core & { onGone: (() => void) | null }>(
  series: ConnectionSeries,
  core: T,
): T {
  series.opened();
  core.onGone = () => series.closed();
  return core;
}
