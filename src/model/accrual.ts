// When an endpoint that answers badly is left alone: the values behind Linkerd's failure accrual.

/** Ejects an endpoint whose share of good answers is too small. */
export interface SuccessRate {
  /** Of 1. */
  readonly threshold: number;
  /** Over which it is counted. */
  readonly windowMs: number;
  /** Fewer in a window say nothing. */
  readonly minRequests: number;
}

/** Ejects an endpoint after failures in a row, or for its success rate. */
export interface FailureAccrual {
  /** Infinity: failures in a row do not count. */
  readonly maxFailures: number;
  /** Absent: only failures in a row count. */
  readonly successRate?: SuccessRate;
  /** The first ejection; each further one lasts twice as long, up to `maxBackoffMs`, ± `jitter`. */
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly jitter: number;
}

/** Linkerd's defaults of the success rate. */
export const DEFAULT_SUCCESS_RATE: SuccessRate = {
  threshold: 0.8,
  windowMs: 10_000,
  minRequests: 5,
};

/** Linkerd's defaults for what a Service leaves open. */
export const DEFAULT_ACCRUAL: FailureAccrual = {
  maxFailures: 7,
  minBackoffMs: 1000,
  maxBackoffMs: 60_000,
  jitter: 0.5,
};
