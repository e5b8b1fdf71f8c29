// The circuit breaker of one endpoint. Knows outcomes and the clock, nothing of requests; the endpoint
// tells it what happened, the balancer asks whether to pick.

import { Backoff } from "../../core/clock.ts";
import type { FailureAccrual } from "../../model/accrual.ts";
import { SuccessWindow } from "./success-rate.ts";

/**
 * `available`: picked as usual. `ejected`: not picked until its time is over. `probing`: one request is
 * out to see whether it is well again; no other is sent meanwhile.
 */
export type BreakerState = "available" | "ejected" | "probing";

/**
 * Counts failures in a row, as Linkerd's «consecutive» accrual, and where it is asked for the success
 * rate too, as its «unified» one.
 */
export class Breaker {
  readonly #max: number;
  readonly #backoff: Backoff;
  readonly #rate: SuccessWindow | null;
  #state: BreakerState = "available";
  #failures = 0;
  #untilMs = 0;

  constructor(accrual: FailureAccrual, random: () => number, nowMs = 0) {
    this.#max = accrual.maxFailures;
    const { successRate } = accrual;
    this.#rate = successRate === undefined ? null : new SuccessWindow(successRate, nowMs);
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

  /**
   * Its outcome. Those of requests that were sent before an ejection do not end it. `overloaded`: it
   * was refused for want of room (429), which counts against the success rate alone.
   */
  ended(failed: boolean, nowMs: number, overloaded = false): void {
    if (this.#state === "ejected") return;
    const tooFewGood = this.#rate?.add(failed || overloaded, nowMs) ?? false;
    if (!failed) {
      this.#failures = 0;
      if (this.#state === "probing") {
        this.#backoff.reset();
        this.#rate?.clear();
        this.#state = "available";
        return;
      }
    } else this.#failures++;
    if (this.#state === "available" && this.#failures < this.#max && !tooFewGood) return;
    this.#state = "ejected";
    this.#rate?.clear();
    this.#untilMs = nowMs + this.#backoff.next();
  }

  /** The request was given up before it had an outcome: the next one is the probe. */
  abandoned(): void {
    if (this.#state === "probing") this.#state = "ejected";
  }
}
