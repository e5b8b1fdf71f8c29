// Milliseconds ↔ google.protobuf.Duration.

import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import { WireError } from "./wire-error.ts";

/** Longest duration that is taken as it is, in milliseconds: ten years. Longer ones are a mistake or
 * hostile. */
export const MAX_DURATION_MS = 315_360_000_000;
const MAX_SECONDS = BigInt(MAX_DURATION_MS / 1000);

/** A duration of `ms`, which may have fractions. */
export function durationToWire(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return create(DurationSchema, {
    seconds: BigInt(seconds),
    nanos: Math.round((ms - seconds * 1000) * 1e6),
  });
}

/** Milliseconds with fractions. Negative or absurd durations raise a `WireError` for `field`. */
export function durationFromWire(wire: Duration, field: string): number {
  if (wire.seconds < 0n || wire.nanos < 0 || wire.nanos > 999_999_999) {
    throw new WireError(field, "is not a duration of zero or more");
  }
  if (wire.seconds > MAX_SECONDS) throw new WireError(field, "is longer than ten years");
  return Number(wire.seconds) * 1000 + wire.nanos / 1e6;
}
