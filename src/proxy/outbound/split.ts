// Traffic over several backends: which one an attempt goes to. Made at target rate when routes or
// endpoints change; the pick is per attempt, and `balance.ts` then chooses the endpoint.

import type { RouteSplit, SplitBackend } from "../../model/route.ts";
import type { BackendSeries } from "../metrics/backends.ts";
import type { BalancerSeries } from "../metrics/balancers.ts";
import type { ConnectQueue } from "./connect-queue.ts";
import type { EndpointState } from "./endpoint.ts";
import type { HashRing } from "./hash-ring.ts";

/** A backend with the endpoints that it has now. */
export interface BackendState {
  /** Its `Destination/Get` path; empty: there is no such backend, and it fails its share. */
  readonly authority: string;
  readonly weight: number;
  /** What requests that it fails are told by the control plane; null: nothing. */
  readonly fails: string | null;
  readonly endpoints: readonly EndpointState[];
  /** Of its endpoints; null: they are taken by load. */
  readonly ring: HashRing | null;
  /** What its attempts count in; null: nothing. */
  readonly series: BackendSeries | null;
  readonly balancer: BalancerSeries | null;
  /** Where its requests wait for a connection; null: nowhere. */
  readonly queue: ConnectQueue | null;
}

/** What a backend has beside its endpoints. */
type BackendParts = Pick<BackendState, "ring" | "series" | "balancer" | "queue">;
const NO_PARTS: BackendParts = { ring: null, series: null, balancer: null, queue: null };

export interface SplitState {
  readonly pick: RouteSplit["pick"];
  readonly backends: readonly BackendState[];
}

/** Joins a route's split with the endpoints of all backends of its target, and with what they have. */
export function splitState(
  split: RouteSplit,
  all: readonly EndpointState[],
  partsOf: (backend: SplitBackend) => BackendParts = () => NO_PARTS,
): SplitState {
  return {
    pick: split.pick,
    backends: split.backends.map((backend) => ({
      authority: backend.authority,
      weight: backend.weight,
      fails: backend.fails ?? null,
      endpoints: all.filter((e) => e.endpoint.backend === backend.authority),
      ...partsOf(backend),
    })),
  };
}

/**
 * The backend of an attempt: of those that have an endpoint which is not ejected, and that do not fail
 * fast, the first, or one by weight. None available: the first with a weight, whose failure then tells why.
 */
export function pickBackend(
  split: SplitState,
  now: number,
  random: () => number,
): BackendState | null {
  const { backends } = split;
  let sum = 0;
  for (const backend of backends) {
    if (!isAvailable(backend, now)) continue;
    if (split.pick === "first") return backend;
    sum += backend.weight;
  }
  if (sum === 0) return backends[0] ?? null;
  let left = random() * sum;
  let last: BackendState | null = null;
  for (const backend of backends) {
    if (!isAvailable(backend, now)) continue;
    last = backend;
    left -= backend.weight;
    if (left < 0) return backend;
  }
  return last;
}

/**
 * The route of the backend that a request goes to, where backends have filters of their own: chosen here,
 * before those, and kept by its later attempts. Another route is its own.
 */
export function variantOf<
  T extends { readonly split: SplitState | null; readonly variants: readonly T[] },
>(
  route: T,
  now: number,
  random: () => number,
): T {
  const { split, variants } = route;
  if (split === null || variants.length === 0) return route;
  const backend = pickBackend(split, now, random);
  return backend === null ? route : variants[split.backends.indexOf(backend)] ?? route;
}

function isAvailable(backend: BackendState, now: number): boolean {
  const { authority, weight, endpoints, queue } = backend;
  if (weight === 0 || (queue !== null && queue.isShut)) return false;
  if (authority === "") return true;
  for (const endpoint of endpoints) if (!endpoint.isEjected(now)) return true;
  return false;
}
