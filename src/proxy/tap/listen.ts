// Where observers come in: the tap address, for the thread that serves them – a small proxy's only one,
// the main thread of one with workers.

import type { Listener } from "../../core/listen.ts";
import type { ProxyConfig } from "../config.ts";
import { type PlaneThread, serverOptions } from "../serve.ts";
import { tapAccept } from "./accept.ts";
import type { TapHub } from "./hub.ts";
import { tapService } from "./service.ts";

/** How long the first bytes of an observer are awaited; as the reference. */
const TAP_DETECT_MS = 1000;

/** Listens for observers of `hub`; nothing where nobody may observe. */
export async function listenForTap(
  config: Pick<ProxyConfig, "tap" | "inbound">,
  hub: TapHub,
  { driver, metrics, log, draining, listen }: PlaneThread,
): Promise<readonly Listener[]> {
  const { name, listen: at } = config.tap;
  if (name === null) return [];
  const service = tapService(hub, { name, podIps: config.inbound.ips });
  return [
    await listen({
      at,
      meshTls: true,
      anyName: false,
      detectMs: TAP_DETECT_MS,
      accept: tapAccept(driver, service, {
        // Observers are no requests: they keep no drain waiting.
        ...serverOptions({ metrics, log, draining, tellMesh: () => false }),
        inFlight: { count: 0 },
      }),
      refused: (why, detail) => log.info("refused an observer", { why, detail }),
    }),
  ];
}
