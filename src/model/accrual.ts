// When an endpoint that answers badly is left alone: the values behind Linkerd's failure accrual.

/** Ejects an endpoint after failures in a row. */
export interface FailureAccrual {
  readonly maxFailures: number;
  /** The first ejection; each further one lasts twice as long, up to `maxBackoffMs`, ± `jitter`. */
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly jitter: number;
}

/** Linkerd's defaults for what a Service leaves open. */
export const DEFAULT_ACCRUAL: FailureAccrual = {
  maxFailures: 7,
  minBackoffMs: 1000,
  maxBackoffMs: 60_000,
  jitter: 0.5,
};
