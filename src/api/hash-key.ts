// Keys of consistent hashing ↔ tulle.balance.v1.Hash (field 2048 of a balancer). A decoder of the
// reference skips it.

import { create } from "@bufbuild/protobuf";
import { HASH_NAME, type HashKey } from "../model/hash-key.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import { type Hash, HashSchema } from "./gen/tulle/balance_pb.ts";
import { shown, WireError } from "./wire-error.ts";

/** Undefined for none, so that the message stays what a stock peer sends. */
export function hashToWire(key: HashKey | null): Hash | undefined {
  if (key === null) return undefined;
  switch (key.kind) {
    case "header":
      return create(HashSchema, { key: { case: "header", value: { name: key.name } } });
    case "cookie": {
      const ttl = key.ttlMs === 0 ? {} : { ttl: durationToWire(key.ttlMs) };
      return create(HashSchema, { key: { case: "cookie", value: { name: key.name, ...ttl } } });
    }
    case "source":
      return create(HashSchema, { key: { case: "source", value: {} } });
  }
}

/**
 * Null: there is none. A kind that a newer control plane knows is none, too: balancing by load serves
 * every request. Raises a `WireError` for a name that is none.
 */
export function hashFromWire(wire: Hash | undefined, field: string): HashKey | null {
  switch (wire?.key.case) {
    case "header":
      return { kind: "header", name: nameOf(wire.key.value, `${field}.header`).toLowerCase() };
    case "cookie": {
      const { ttl } = wire.key.value;
      return {
        kind: "cookie",
        name: nameOf(wire.key.value, `${field}.cookie`),
        ttlMs: ttl === undefined ? 0 : durationFromWire(ttl, `${field}.cookie.ttl`),
      };
    }
    case "source":
      return { kind: "source" };
    default:
      return null;
  }
}

function nameOf({ name }: { readonly name: string }, field: string): string {
  if (!HASH_NAME.test(name)) throw new WireError(`${field}.name`, `${shown(name)} is not a name`);
  return name;
}
