// One thread or several: builds the data plane that `main.ts` and `static.ts` serve with, in the thread
// that they have or in workers. The only file that starts workers.

import type { SocketAddr } from "../core/addr.ts";
import { claimAddress } from "../runtime/net-listener.ts";
import { SYSTEM_CLOCK } from "../runtime/process.ts";
import { startWorker } from "../runtime/workers.ts";
import { CELLS_BYTES } from "../../wasm/host/cells.ts";
import type { LogFormat } from "./config.ts";
import { createDataPlane } from "./data-plane.ts";
import { serveInOneThread } from "./one-thread.ts";
import type { Serving } from "./serving.ts";
import { createStaticPlane } from "./static-plane.ts";
import { TapHub } from "./tap/hub.ts";
import { listenForTap } from "./tap/listen.ts";
import type { Thread } from "./thread.ts";
import { Fleet } from "./workers/fleet.ts";
import type { PlaneKind } from "./workers/protocol.ts";
import { RETAIN_IDLE_MS } from "./metrics/retain.ts";
import { shareOf } from "./workers/share.ts";

/** The worker's entry: beside this file, or beside the bundle that this file is in. */
const WORKER = new URL(
  import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js",
  import.meta.url,
);

/**
 * Builds a data plane of `kind`: with one worker in `thread`, else in so many worker threads. Rejects
 * with one line when an address cannot be listened on.
 */
export async function serveIn(
  workers: number,
  thread: Thread,
  kind: PlaneKind,
  format: LogFormat,
): Promise<Serving> {
  if (workers === 1) {
    return serveInOneThread(
      thread,
      (discovery, on) =>
        kind.kind === "mesh"
          ? createDataPlane(kind.config, discovery, on)
          : createStaticPlane(kind.options, discovery, on),
    );
  }
  const plane = await claimed(kind);
  const hub = new TapHub();
  return new Fleet({
    workers,
    data: {
      plane: shareOf(withoutTap(plane), workers),
      log: { format },
      cells: new SharedArrayBuffer(CELLS_BYTES),
    },
    start: (name, data, on) => startWorker(WORKER, name, data, on),
    engine: thread.engine,
    metrics: thread.metrics,
    retainIdleMs: kind.kind === "mesh" ? kind.config.metricsRetainIdleMs : RETAIN_IDLE_MS,
    clock: SYSTEM_CLOCK,
    random: Math.random,
    log: thread.log.with("workers"),
    ...(plane.kind === "mesh"
      ? { tap: { hub, listen: () => listenForTap(plane.config, hub, thread) } }
      : {}),
  });
}

/** Observers are served by the main thread. */
function withoutTap(kind: PlaneKind): PlaneKind {
  if (kind.kind === "static") return kind;
  return { ...kind, config: { ...kind.config, tap: { ...kind.config.tap, name: null } } };
}

/** With addresses that workers can share, which this process alone has. */
async function claimed(kind: PlaneKind): Promise<PlaneKind> {
  if (kind.kind === "static") {
    return {
      ...kind,
      options: { ...kind.options, listen: await claimAddress(kind.options.listen) },
    };
  }
  const { inbound, outbound } = kind.config;
  const outboundListen: SocketAddr[] = [];
  for (const at of outbound.listen) outboundListen.push(await claimAddress(at));
  return {
    ...kind,
    config: {
      ...kind.config,
      inbound: { ...inbound, listen: await claimAddress(inbound.listen) },
      outbound: { ...outbound, listen: outboundListen },
    },
  };
}
