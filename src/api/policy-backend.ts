// Backends of an outbound policy → outbound.proto `Backend`: a balancer over a destination's endpoints, or
// one address. `policy-backends.ts` reads them.

import { create } from "@bufbuild/protobuf";
import type { HashKey } from "../model/hash-key.ts";
import type { ClientPolicy, Origin } from "../model/profile.ts";
import { durationToWire } from "./duration.ts";
import { endpointToWire } from "./endpoint.ts";
import { type Backend, BackendSchema } from "./gen/outbound_pb.ts";
import { hashToWire } from "./hash-key.ts";
import { originToWire } from "./origin.ts";

/** Values of the reference that proxies require and then replace by their own settings. */
const QUEUE = { capacity: 100, failfastTimeout: durationToWire(3000) };

/** The policy's own destination or address; null: it leads nowhere. */
export function backendToWire(policy: ClientPolicy): Backend | null {
  const { destination, forward, origin, hash = null } = policy;
  if (forward !== null) {
    return create(BackendSchema, {
      ...backendOf(origin),
      kind: { case: "forward", value: endpointToWire(forward) },
    });
  }
  return destination === "" ? null : balancerToWire(origin, destination, hash, policy);
}

/** A balancer over the endpoints of a `Destination/Get` path. */
export function balancerToWire(
  origin: Origin,
  destination: string,
  hash: HashKey | null,
  { defaultRttMs, decayMs }: Pick<ClientPolicy, "defaultRttMs" | "decayMs">,
): Backend {
  const wireHash = hashToWire(hash);
  return create(BackendSchema, {
    ...backendOf(origin),
    kind: {
      case: "balancer",
      value: {
        discovery: { kind: { case: "dst", value: { path: destination } } },
        load: {
          case: "peakEwma",
          value: { defaultRtt: durationToWire(defaultRttMs), decay: durationToWire(decayMs) },
        },
        ...(wireHash === undefined ? {} : { hash: wireHash }),
      },
    },
  });
}

/** What leads nowhere: a proxy fails the requests that it gets. */
export function noBackendToWire(origin: Origin): Backend {
  return create(BackendSchema, backendOf(origin));
}

function backendOf(origin: Origin) {
  return { metadata: originToWire(origin), queue: QUEUE };
}
