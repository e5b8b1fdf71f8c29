// The targets in use and their stacks: made at first use, dropped when idle. Per-connection code
// keeps the one that it used last, so that the map is not asked per request.

import { MeshError } from "../../core/errors.ts";
import type { HttpService } from "../../core/exchange.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import type { Discovery, TargetKey } from "../discovery/discovery.ts";
import type { ReachOptions } from "./endpoint.ts";
import { type OutboundOptions, outboundStack } from "./stack.ts";
import { Target } from "./target.ts";

/** Targets at once; more are refused, so that hostile names cannot fill memory. */
const MAX_TARGETS = 10_000;

/** A target and the service that was built for it. */
export interface TargetStack {
  readonly target: Target;
  readonly service: HttpService;
  /** False once it was dropped: look it up again. */
  live: boolean;
}

export class Targets {
  readonly #discovery: Discovery;
  readonly #reach: ReachOptions;
  readonly #options: OutboundOptions;
  readonly #idleMs: number;
  readonly #byName = new Map<string, TargetStack>();
  readonly #sweeper: Timer;

  constructor(discovery: Discovery, reach: ReachOptions, options: OutboundOptions, idleMs: number) {
    this.#discovery = discovery;
    this.#reach = reach;
    this.#options = options;
    this.#idleMs = idleMs;
    this.#sweeper = createTimer(() => this.#sweep());
  }

  /** The stack for `name`, which is the target's key as text. Throws an `overload` error past the bound. */
  get(name: string, key: TargetKey): TargetStack {
    let stack = this.#byName.get(name);
    if (stack === undefined) {
      if (this.#byName.size >= MAX_TARGETS) {
        throw new MeshError(
          "overload",
          `${MAX_TARGETS} destinations are in use, which is the limit`,
        );
      }
      const target = new Target(this.#discovery.outbound(key), this.#reach, {
        metrics: this.#reach.metrics,
        ...this.#options,
      });
      stack = { target, service: outboundStack(target, this.#options), live: true };
      this.#byName.set(name, stack);
      if (this.#byName.size === 1) this.#plan();
    }
    return stack;
  }

  /** All in use, for the admin server. */
  *all(): IterableIterator<Target> {
    for (const { target } of this.#byName.values()) yield target;
  }

  release(): void {
    this.#reach.driver.timers.cancel(this.#sweeper);
    for (const stack of this.#byName.values()) this.#drop(stack);
    this.#byName.clear();
  }

  #plan(): void {
    if (this.#idleMs === Infinity) return; // the one fixed target of `tulle proxy` stays
    const { driver } = this.#reach;
    driver.timers.arm(this.#sweeper, driver.now + this.#idleMs);
  }

  #sweep(): void {
    const { now } = this.#reach.driver;
    for (const [name, stack] of this.#byName) {
      const { target } = stack;
      if (target.active > 0 || target.waiting.size > 0 || now - target.lastUsedMs < this.#idleMs) {
        continue;
      }
      this.#byName.delete(name);
      this.#drop(stack);
    }
    if (this.#byName.size > 0) this.#plan();
  }

  #drop(stack: TargetStack): void {
    stack.live = false;
    stack.target.release();
  }
}
