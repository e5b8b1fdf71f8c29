// Differences between what a stream last sent and the set as it is now: the only place of the control
// plane that speaks of adding and removing.

import type { SocketAddr } from "../../core/addr.ts";
import { type Endpoint, endpointKey } from "../../model/endpoint.ts";
import { deepEqual } from "../equal.ts";

export interface Delta {
  /** New, or with other metadata than before. */
  readonly add: readonly Endpoint[];
  readonly remove: readonly SocketAddr[];
}

/** What turns `sent` into `now`. */
export function deltaOf(sent: readonly Endpoint[], now: readonly Endpoint[]): Delta {
  const before = new Map(sent.map((e) => [endpointKey(e), e]));
  const add: Endpoint[] = [];
  for (const endpoint of now) {
    const key = endpointKey(endpoint);
    const old = before.get(key);
    before.delete(key);
    if (old === undefined || !deepEqual(old, endpoint)) add.push(endpoint);
  }
  return { add, remove: [...before.values()].map((e) => e.addr) };
}
