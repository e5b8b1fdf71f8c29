// Failure accrual of a Service, from its annotations: when clients eject an endpoint for its answers.

import {
  DEFAULT_ACCRUAL,
  DEFAULT_SUCCESS_RATE,
  type FailureAccrual,
  type SuccessRate,
} from "../../model/accrual.ts";
import { MAX_DURATION_MS } from "../../api/duration.ts";
import type { Field } from "../field.ts";

const PREFIX = "balancer.linkerd.io/failure-accrual";
const RATE_PREFIX = "balancer.alpha.linkerd.io/failure-accrual-success-rate";
const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * The accrual that the annotations ask for, or null. `unified` ejects by failures in a row and by the
 * success rate. Raises a `FieldError` for what cannot be read.
 */
export function accrualOf(annotations: Field): FailureAccrual | null {
  const mode = annotations.at(PREFIX);
  if (mode.isAbsent) return null;
  if (mode.value !== "consecutive" && mode.value !== "unified") {
    mode.fail(`is ${JSON.stringify(mode.value)}: write consecutive or unified`);
  }
  const of = (name: string) => annotations.at(`${PREFIX}-consecutive-${name}`);
  const accrual = {
    maxFailures: number(of("max-failures"), DEFAULT_ACCRUAL.maxFailures, /^[1-9]\d{0,8}$/),
    minBackoffMs: wireDuration(of("min-penalty"), DEFAULT_ACCRUAL.minBackoffMs),
    maxBackoffMs: wireDuration(of("max-penalty"), DEFAULT_ACCRUAL.maxBackoffMs),
    jitter: number(of("jitter-ratio"), DEFAULT_ACCRUAL.jitter, /^\d{1,6}(\.\d{1,6})?$/),
  };
  if (accrual.minBackoffMs > accrual.maxBackoffMs) {
    of("min-penalty").fail("is longer than the max-penalty");
  }
  if (mode.value === "consecutive") return accrual;
  const rate = rateOf((name) => annotations.at(`${RATE_PREFIX}-${name}`));
  return rate === null ? accrual : { ...accrual, successRate: rate };
}

/** Null: a threshold of 0, which is off. */
function rateOf(of: (name: string) => Field): SuccessRate | null {
  const { threshold, windowMs, minRequests } = DEFAULT_SUCCESS_RATE;
  const rate = {
    threshold: number(of("threshold"), threshold, /^(0(\.\d{1,6})?|1(\.0{1,6})?)$/),
    windowMs: wireDuration(of("window"), windowMs),
    minRequests: number(of("min-requests"), minRequests, /^(\d{1,6}|1000000)$/),
  };
  if (rate.windowMs < 10) of("window").fail("is shorter than 10ms");
  return rate.threshold === 0 ? null : rate;
}

function number(field: Field, absent: number, shape: RegExp): number {
  if (field.isAbsent) return absent;
  const text = field.string();
  if (!shape.test(text)) {
    field.fail(`is ${JSON.stringify(text)}, not a number as it is wanted here`);
  }
  return Number(text);
}

/** A whole number with a unit, as Linkerd's annotations have it; milliseconds. */
export function wireDuration(field: Field, absentMs: number): number {
  if (field.isAbsent) return absentMs;
  const text = field.string().trim();
  if (text === "0") return 0;
  const m = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  if (m === null) field.fail(`is ${JSON.stringify(field.value)}, not a duration such as 10s`);
  const ms = Number(m[1]) * (UNIT_MS[m[2] ?? ""] ?? 0);
  return ms <= MAX_DURATION_MS ? ms : field.fail(`is ${text}, which is longer than ten years`);
}
