// What is bounded for the whole proxy, divided among workers that know nothing of each other.

import type { ProxyConfig } from "../config.ts";
import type { PlaneKind } from "./protocol.ts";

/** The configuration of one of so many workers: bounds of requests in progress and of queues. */
export function shareOf(kind: PlaneKind, workers: number): PlaneKind {
  // `tulle proxy` has bounds against accidents only, which each worker may have whole.
  if (kind.kind === "static") return kind;
  const share = (n: number) => Math.ceil(n / workers);
  const direction = <D extends ProxyConfig["inbound"] | ProxyConfig["outbound"]>(d: D): D => ({
    ...d,
    maxInFlight: share(d.maxInFlight),
    queueCapacity: share(d.queueCapacity),
  });
  const { config } = kind;
  const outbound = direction(config.outbound);
  return {
    ...kind,
    config: {
      ...config,
      inbound: direction(config.inbound),
      outbound: { ...outbound, tcpQueueCapacity: share(outbound.tcpQueueCapacity) },
    },
  };
}
