// Failure accrual ↔ outbound.proto `FailureAccrual`: when an endpoint is ejected for its answers.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { FailureAccrual, SuccessRate } from "../model/accrual.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import {
  type ExponentialBackoff,
  type FailureAccrual as Wire,
  type FailureAccrual_Unified as Unified,
  FailureAccrualSchema,
} from "./gen/outbound_pb.ts";
import { required, WireError } from "./wire-error.ts";

/** The message, or undefined for none. */
export function accrualToWire(accrual: FailureAccrual | null): Wire | undefined {
  if (accrual === null) return undefined;
  const { maxFailures, minBackoffMs, maxBackoffMs, jitter, successRate } = accrual;
  const backoff = {
    minBackoff: durationToWire(minBackoffMs),
    maxBackoff: durationToWire(maxBackoffMs),
    jitterRatio: jitter,
  };
  const init: MessageInitShape<typeof FailureAccrualSchema> = {
    kind: successRate === undefined
      ? { case: "consecutiveFailures", value: { maxFailures, backoff } }
      : {
        case: "unified",
        value: {
          successRateThreshold: successRate.threshold,
          decay: durationToWire(successRate.windowMs),
          minRequests: successRate.minRequests,
          maxConsecutiveFailures: maxFailures === Infinity ? 0 : maxFailures,
          backoff,
        },
      },
  };
  return create(FailureAccrualSchema, init);
}

/** What a message asks for. Raises a `WireError` for a back-off that proxies of the reference refuse. */
export function accrualFromWire(wire: Wire | undefined, field: string): FailureAccrual | null {
  switch (wire?.kind.case) {
    case "consecutiveFailures": {
      const { maxFailures, backoff } = wire.kind.value;
      return withBackoff(maxFailures, backoff, `${field}.consecutive_failures.backoff`);
    }
    case "unified": {
      const { maxConsecutiveFailures, backoff } = wire.kind.value;
      const rate = rateFromWire(wire.kind.value, `${field}.unified`);
      const accrual = withBackoff(
        maxConsecutiveFailures || (rate === null ? 0 : Infinity),
        backoff,
        `${field}.unified.backoff`,
      );
      return accrual === null || rate === null ? accrual : { ...accrual, successRate: rate };
    }
    default:
      return null;
  }
}

/** Null: this part of the policy is off. */
function rateFromWire(
  { successRateThreshold: threshold, decay, minRequests }: Unified,
  field: string,
): SuccessRate | null {
  if (!(threshold >= 0 && threshold <= 1)) {
    throw new WireError(`${field}.success_rate_threshold`, `is ${threshold}, not in 0–1`);
  }
  if (threshold === 0) return null;
  const windowMs = ms(decay, `${field}.decay`);
  if (windowMs < 10) throw new WireError(`${field}.decay`, `is ${windowMs} ms, under 10 ms`);
  return { threshold, windowMs, minRequests };
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
