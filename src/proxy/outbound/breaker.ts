// The circuit breaker of one endpoint. Knows outcomes and the clock, nothing of requests; the endpoint
// tells it what happened, the balancer asks whether to pick.

import { Backoff } from "../../core/clock.ts";
import type { FailureAccrual } from "../../model/accrual.ts";

/**
 * `available`: picked as usual. `ejected`: not picked until its time is over. `probing`: one request is
 * out to see whether it is well again; no other is sent meanwhile.
 */
export type BreakerState = "available" | "ejected" | "probing";

/** Counts failures in a row, as Linkerd's «consecutive» accrual. */
export class Breaker {
  readonly #max: number;
  readonly #backoff: Backoff;
  #state: BreakerState = "available";
  #failures = 0;
  #untilMs = 0;

  constructor(accrual: FailureAccrual, random: () => number) {
    this.#max = accrual.maxFailures;
    this.#backoff = new Backoff(
      accrual.minBackoffMs,
      accrual.maxBackoffMs,
      accrual.jitter,
      random,
    );
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Whether a request may be sent now: also the probe, once the ejection's time is over. */
  admits(nowMs: number): boolean {
    return this.#state === "available" || (this.#state === "ejected" && nowMs >= this.#untilMs);
  }

  /** A request was sent. */
  started(): void {
    if (this.#state === "ejected") this.#state = "probing";
  }

  /** Its outcome. Those of requests that were sent before an ejection do not end it. */
  ended(failed: boolean, nowMs: number): void {
    if (this.#state === "ejected") return;
    if (!failed) {
      this.#failures = 0;
      if (this.#state === "probing") this.#backoff.reset();
      this.#state = "available";
      return;
    }
    this.#failures++;
    if (this.#state === "available" && this.#failures < this.#max) return;
    this.#state = "ejected";
    this.#untilMs = nowMs + this.#backoff.next();
  }

  /** The request was given up before it had an outcome: the next one is the probe. */
  abandoned(): void {
    if (this.#state === "probing") this.#state = "ejected";
  }
}
