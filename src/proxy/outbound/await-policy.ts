// Holds a connection that was redirected here until it is known what its destination speaks: on an
// opaque port no byte may be read as HTTP. Bounded in time; bytes stay with the driver meanwhile.

import type { Chan, ChanError, Driver } from "../../core/driver.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import type { Served } from "../tcp/detect-core.ts";
import type { Target, Waiting } from "./target.ts";

/** The core until the target's first snapshot. */
export class AwaitPolicy implements Served, Waiting {
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #target: Target;
  readonly #waitMs: number;
  readonly #serve: () => Served;
  readonly #timer: Timer;
  #ch: Chan = 0;

  /** After `waitMs` without an answer `serve` is asked all the same: a request then says why not. */
  constructor(driver: Driver, target: Target, waitMs: number, serve: () => Served) {
    this.#driver = driver;
    this.#target = target;
    this.#waitMs = waitMs;
    this.#serve = serve;
    this.#timer = createTimer(() => this.#go());
  }

  opened(ch: Chan): void {
    this.#ch = ch;
    if (this.#target.snapshot !== null) return this.#go();
    this.#target.waiting.add(this);
    this.#driver.timers.arm(this.#timer, this.#driver.now + this.#waitMs);
    this.#driver.pause(ch);
  }

  /** The target has a snapshot. */
  retry(): void {
    if (this.#target.snapshot !== null) this.#go();
  }

  feed(): number {
    return 0;
  }

  writable(): void {}

  ended(ch: Chan): void {
    this.#leave();
    this.#driver.close(ch, "flush");
    this.#tellGone();
  }

  closed(_ch: Chan, _why: ChanError | null): void {
    this.#leave();
    this.#tellGone();
  }

  #go(): void {
    this.#leave();
    const core = this.#serve();
    core.onGone = this.onGone;
    this.onGone = null;
    this.#driver.adopt(this.#ch, core);
    core.opened(this.#ch);
    this.#driver.resume(this.#ch);
  }

  #leave(): void {
    this.#target.waiting.delete(this);
    this.#driver.timers.cancel(this.#timer);
  }

  #tellGone(): void {
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }
}
