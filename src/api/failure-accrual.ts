// Failure accrual ↔ outbound.proto `FailureAccrual`: when an endpoint is ejected for its answers.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { FailureAccrual } from "../model/accrual.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import {
  type ExponentialBackoff,
  type FailureAccrual as Wire,
  FailureAccrualSchema,
} from "./gen/outbound_pb.ts";
import { required, WireError } from "./wire-error.ts";

/** The message, or undefined for none. */
export function accrualToWire(accrual: FailureAccrual | null): Wire | undefined {
  if (accrual === null) return undefined;
  const { maxFailures, minBackoffMs, maxBackoffMs, jitter } = accrual;
  const init: MessageInitShape<typeof FailureAccrualSchema> = {
    kind: {
      case: "consecutiveFailures",
      value: {
        maxFailures,
        backoff: {
          minBackoff: durationToWire(minBackoffMs),
          maxBackoff: durationToWire(maxBackoffMs),
          jitterRatio: jitter,
        },
      },
    },
  };
  return create(FailureAccrualSchema, init);
}

/**
 * What a message asks for. «Unified» accrual is carried out as far as failures in a row go; its success
 * rate is not looked at. Raises a `WireError` for a back-off that proxies of the reference refuse.
 */
export function accrualFromWire(wire: Wire | undefined, field: string): FailureAccrual | null {
  switch (wire?.kind.case) {
    case "consecutiveFailures": {
      const { maxFailures, backoff } = wire.kind.value;
      return withBackoff(maxFailures, backoff, `${field}.consecutive_failures.backoff`);
    }
    case "unified": {
      const { maxConsecutiveFailures, backoff } = wire.kind.value;
      return withBackoff(maxConsecutiveFailures, backoff, `${field}.unified.backoff`);
    }
    default:
      return null;
  }
}

function withBackoff(
  maxFailures: number,
  wire: ExponentialBackoff | undefined,
  field: string,
): FailureAccrual | null {
  const backoff = required(wire, field);
  const minBackoffMs = ms(backoff.minBackoff, `${field}.min_backoff`);
  const maxBackoffMs = ms(backoff.maxBackoff, `${field}.max_backoff`);
  const jitter = backoff.jitterRatio;
  if (maxBackoffMs <= 0 || minBackoffMs > maxBackoffMs || !(jitter >= 0 && jitter < 1e6)) {
    throw new WireError(field, "is not a back-off: 0 < max, min <= max, jitter >= 0");
  }
  // 0 failures in a row: this part of the policy is off.
  return maxFailures === 0 ? null : { maxFailures, minBackoffMs, maxBackoffMs, jitter };
}

function ms(wire: Duration | undefined, field: string): number {
  return durationFromWire(required(wire, field), field);
}
