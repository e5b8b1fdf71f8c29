// Lease and writer put together: what a control plane that serves policy starts beside its services.

import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import type { StatusEntry } from "../status/entry.ts";
import type { KubeApi } from "./api.ts";
import { Lease } from "./lease.ts";
import { STATUS_LEASE, StatusWriter } from "./status-writer.ts";

/** Writes status as long as the Lease in the control plane's namespace is ours. */
export function startStatus(options: {
  readonly api: KubeApi;
  readonly namespace: string;
  /** Unique among all control planes. */
  readonly holder: string;
  readonly entries: () => readonly StatusEntry[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}): { readonly changed: () => void; close(): Promise<void> } {
  const { api, namespace, holder, entries, clock, random, log } = options;
  const lease: Lease = new Lease({
    ...{ api, namespace, holder, clock, random, log },
    name: STATUS_LEASE,
    onHeld: () => writer.begin(),
  });
  const writer = new StatusWriter({ api, entries, clock, log, held: () => lease.held });
  lease.start();
  return {
    changed: writer.changed,
    async close() {
      writer.close();
      await lease.close();
    },
  };
}
