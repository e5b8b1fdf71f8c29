// Picks the endpoint of a connection whose bytes are no requests: of two drawn at random the one with
// fewer such connections open, among those that can be reached as long as there are any.

import type { EndpointState } from "./endpoint.ts";
import { pickP2c } from "./peak-ewma.ts";
import { pickBackend } from "./split.ts";
import type { RouteState, Target } from "./target.ts";

/** More than any time to connect in ms: the open connections decide, then how fast connecting is. */
const PER_CONNECTION = 1e9;

/**
 * Chooses among the endpoints of `route`'s backend, which is drawn by weight where there are several, or
 * null when none is ready.
 */
export function pickLeastLoaded(
  target: Target,
  route: RouteState | undefined,
  random: () => number,
): EndpointState | null {
  const { now } = target.reach.driver;
  const split = route?.split ?? null;
  const all = split === null ? target.endpoints : pickBackend(split, now, random)?.endpoints ?? [];
  const ready = all.filter((e) => !e.isEjected(now));
  if (ready.length === 0) return null;
  const near = ready.filter((e) => !e.isAway(now));
  const from = near.length > 0 ? near : ready;
  const load = (i: number) => {
    const { tunnels, ewma } = from[i] as EndpointState;
    return tunnels * PER_CONNECTION + ewma.load(now);
  };
  return from[pickP2c(from.length, load, random)] ?? null;
}
