// A filter in this thread: its instance, what happens when that traps, and what is counted about it.
// Between the chain and the instance; nothing thrown by a filter gets past here.

import { Backoff } from "../../src/core/clock.ts";
import type { Exchange } from "../../src/core/exchange.ts";
import {
  type BodyPiece,
  type CalloutAnswer,
  CONTINUE,
  FAILED,
  type Outcome,
  PAUSED,
  REPLY,
  type Verdict,
} from "../../src/core/filter.ts";
import { errorText } from "../../src/core/errors.ts";
import type { ResponseHead } from "../../src/core/head.ts";
import { ACTION_PAUSE, ACTION_REPLY, type Manifest } from "../abi.ts";
import { addSample, type UnitCounts } from "./counts.ts";
import { CpuBudget, DEFAULT_CPU_PERCENT } from "./budget.ts";
import { Guest, OPINION_NO, OPINION_NONE } from "./guest.ts";
import type { World } from "./situation.ts";
import { MetricFold, type MetricStore } from "./metrics.ts";
import type { FilterPlan } from "./plan.ts";
import { memoryUse } from "./memory-use.ts";
import { trapOf } from "./trap.ts";
import { RequestUndo } from "./undo.ts";

/** About one call in this many is timed; which ones a filter cannot know. */
const SAMPLE = 16;
/** Traps after which the next instance is not made at once. */
const QUICK_RESTARTS = 3;
/** A filter that ran this long without a trap starts over. */
const HEALTHY_MS = 10_000;

/** Where a unit's cells are, for whoever folds them when the unit is gone. */
export interface FoldHolder {
  fold: MetricFold | null;
}

/** A filter of a chain. Calls never throw. */
export class FilterUnit {
  readonly plan: FilterPlan;
  readonly hooks: number;
  readonly needs: NonNullable<Manifest["bodies"]>;
  readonly counts: UnitCounts;
  readonly holder: FoldHolder = { fold: null };
  readonly #world: World;
  readonly #store: MetricStore;
  readonly #backoff: Backoff;
  readonly #isOpen: boolean;
  readonly #budget: CpuBudget;
  readonly #undo = new RequestUndo();
  /** What the guest was last allowed; the rest is in its allowance. */
  #granted = 0;
  /** Over budget until then; 0: it is not. */
  #restsUntilMs = 0;
  #untilSample = SAMPLE;
  #guest: Guest | null = null;
  #quickRestarts = 0;
  #restartAtMs = 0;
  #trappedAtMs = -Infinity;

  constructor(plan: FilterPlan, world: World, store: MetricStore, counts: UnitCounts) {
    this.plan = plan;
    this.needs = plan.manifest.bodies ?? {};
    this.counts = counts;
    this.#world = world;
    this.#store = store;
    this.#backoff = new Backoff(100, 30_000, 0.2, () => world.random());
    this.#budget = new CpuBudget(plan.ref.cpuPercent || DEFAULT_CPU_PERCENT, world.now());
    this.#isOpen = plan.ref.failurePolicy === "open";
    this.hooks = plan.hookBits;
    this.#start();
  }

  /** There is an instance. */
  get isRunning(): boolean {
    return this.#guest !== null;
  }

  /** Fuel that the last hook left over; for tests and reports. */
  get fuelLeft(): number {
    return this.#guest?.fuelLeft ?? 0;
  }

  request(x: Exchange): Verdict {
    const guest = this.#ready();
    if (guest === null) return this.#unavailable(x);
    this.#undo.take(x);
    const startedMs = this.#sample();
    try {
      const action = guest.request(x);
      if (startedMs >= 0) this.#sampled(startedMs, guest);
      return action === 0 ? CONTINUE : verdictOf(action, x);
    } catch (thrown) {
      this.#undo.apply(x);
      if (this.#failed(thrown, "onRequest", guest)) return this.request(x);
      return this.#unavailable(x);
    }
  }

  response(x: Exchange, head: ResponseHead): Verdict {
    const guest = this.#ready();
    if (guest === null) return this.#unavailable(x);
    const edits = head.edits.length;
    const startedMs = this.#sample();
    try {
      const action = guest.response(x, head);
      if (startedMs >= 0) this.#sampled(startedMs, guest);
      return action === ACTION_REPLY ? REPLY : CONTINUE;
    } catch (thrown) {
      head.edits.length = edits;
      x.local = null;
      if (this.#failed(thrown, "onResponse", guest)) return this.response(x, head);
      return this.#unavailable(x);
    }
  }

  /** A delay in ms, `OPINION_NONE` or `OPINION_NO`. */
  outcome(x: Exchange, outcome: Outcome): number {
    const guest = this.#ready();
    const failed = this.#isOpen ? OPINION_NONE : OPINION_NO;
    if (guest === null) return failed;
    const startedMs = this.#sample();
    try {
      const opinion = guest.outcome(x, outcome);
      if (startedMs >= 0) this.#sampled(startedMs, guest);
      return opinion;
    } catch (thrown) {
      if (this.#failed(thrown, "onOutcome", guest)) return this.outcome(x, outcome);
      return failed;
    }
  }

  end(x: Exchange, status: number, elapsedMs: number): void {
    const guest = this.#ready();
    if (guest === null) return;
    const startedMs = this.#sample();
    try {
      guest.end(x, status, elapsedMs);
      if (startedMs >= 0) this.#sampled(startedMs, guest);
    } catch (thrown) {
      if (this.#failed(thrown, "onEnd", guest)) this.end(x, status, elapsedMs);
    }
  }

  attempt(x: Exchange): void {
    this.#undo.take(x);
    this.#quietly("onAttempt", (guest) => guest.attempt(x), () => this.#undo.apply(x));
  }

  /** As `request`, with the answer to what the filter asked. */
  callout(x: Exchange, context: number, answer: CalloutAnswer): Verdict {
    this.#undo.take(x);
    let action = 0;
    const ran = this.#quietly("onCallout", (guest) => {
      action = guest.callout(x, context, answer);
    }, () => this.#undo.apply(x));
    return ran ? verdictOf(action, x) : this.#unavailable(x);
  }

  body(x: Exchange, isResponse: boolean, piece: BodyPiece, last: boolean): Verdict {
    const { buf, from, to } = piece;
    this.#undo.take(x);
    let action = 0;
    const hook = isResponse ? "onResponseBody" : "onRequestBody";
    const ran = this.#quietly(hook, (guest) => {
      action = guest.body(x, isResponse, piece, last);
    }, () => {
      piece.buf = buf;
      piece.from = from;
      piece.to = to;
      this.#undo.apply(x);
    });
    if (!ran) return this.#unavailable(x);
    return action === ACTION_REPLY ? REPLY : CONTINUE;
  }

  /** What a filter that fails did to them is undone; the response is on its way already. */
  trailers(x: Exchange, trailers: ResponseHead): void {
    const edits = trailers.edits.length;
    this.#quietly("onTrailers", (guest) => guest.trailers(x, trailers), () => {
      trailers.edits.length = edits;
    });
  }

  tick(): void {
    this.#quietly("onTick", (guest) => guest.tick());
  }

  connection(x: Exchange): Verdict {
    let verdict: Verdict = CONTINUE;
    const ran = this.#quietly("onConnection", (guest) => {
      if (guest.connection(x)) return;
      x.filterError = `filter "${this.plan.ref.name}" denied the connection`;
      verdict = REPLY;
    });
    return ran ? verdict : this.#unavailable(x);
  }

  connectionEnd(x: Exchange, bytesIn: number, bytesOut: number, elapsedMs: number): void {
    this.#quietly("onConnectionEnd", (g) => g.connectionEnd(x, bytesIn, bytesOut, elapsedMs));
  }

  /** A hook that is not called for every request; false: it did not run to its end. */
  #quietly(hook: string, call: (guest: Guest) => void, undo = () => {}): boolean {
    const guest = this.#ready();
    if (guest === null) return false;
    const startedMs = this.#sample();
    try {
      call(guest);
      if (startedMs >= 0) this.#sampled(startedMs, guest);
      return true;
    } catch (thrown) {
      undo();
      return this.#failed(thrown, hook, guest) && this.#quietly(hook, call, undo);
    }
  }

  /** The time, when this call is one of those that are timed; else -1. */
  #sample(): number {
    this.counts.calls++;
    if (--this.#untilSample > 0) return -1;
    this.#untilSample = 1 + Math.floor(this.#world.random() * (2 * SAMPLE - 1));
    return this.#world.now();
  }

  #sampled(startedMs: number, guest: Guest): void {
    const { counts } = this;
    const { clockNs = 0 } = this.#world;
    // a hook takes about as long as two looks at the clock, which must not count as the filter's
    const ns = Math.max(0, (this.#world.now() - startedMs) * 1e6 - clockNs);
    addSample(counts, ns);
    this.#budget.observe(ns, this.plan.fuelPerHook - guest.fuelLeft);
  }

  /** The instance to call, or null: there is none, or the filter is over its budget. */
  #ready(): Guest | null {
    if (this.#restsUntilMs !== 0) {
      const now = this.#world.now();
      if (now < this.#restsUntilMs) {
        this.counts.overBudget++;
        return null;
      }
      this.#restsUntilMs = 0;
      if (this.#guest !== null) this.#grant(this.#guest, 0, now);
    }
    return this.#guest ?? this.#restart();
  }

  /** Settles what was used and allows what there is; false: the filter is over its budget. */
  #grant(guest: Guest, extraNs: number, now: number): boolean {
    const budget = this.#budget;
    budget.settle(this.#granted - guest.allowance, extraNs, now);
    const { grant } = budget;
    this.#granted = grant;
    guest.allowance = grant;
    if (grant > 0) return true;
    this.#restsUntilMs = budget.resumeAtMs;
    return false;
  }

  /** A hook threw. True: it was not entered and may be called again now. */
  #failed(thrown: unknown, hook: string, guest: Guest): boolean {
    if (!guest.notEntered) {
      this.#trapped(thrown, hook, guest);
      return false;
    }
    if (this.#grant(guest, 0, this.#world.now())) return true;
    const { counts, plan } = this;
    counts.overBudget++;
    const percent = plan.ref.cpuPercent || DEFAULT_CPU_PERCENT;
    const reason = `over budget: it used more than ${percent} % of the thread's time`;
    if (counts.lastError !== reason) {
      counts.lastError = reason;
      this.#world.log.warn(`filter "${plan.ref.name}": ${reason}`, { sha256: plan.ref.sha256 });
    }
    return false;
  }

  #trapped(thrown: unknown, hook: string, guest: Guest): void {
    const { counts, plan } = this;
    const trap = trapOf(
      thrown,
      hook,
      guest.fuelLeft,
      plan.fuelPerHook,
      plan.places,
      memoryUse(guest.memory, plan.ref.memoryPages),
    );
    counts.traps++;
    if (trap.isFuel) counts.fuelExhausted++;
    counts.lastError = trap.reason;
    this.holder.fold?.fold();
    this.holder.fold = null;
    this.#guest = null;
    const now = this.#world.now();
    // the hook that trapped did not take from the allowance
    const used = plan.fuelPerHook - Math.max(0, Math.min(plan.fuelPerHook, guest.fuelLeft));
    this.#budget.settle(this.#granted - guest.allowance + used, 0, now);
    this.#granted = 0;
    if (now - this.#trappedAtMs > HEALTHY_MS) {
      this.#quickRestarts = 0;
      this.#backoff.reset();
    }
    this.#trappedAtMs = now;
    const waitMs = this.#quickRestarts++ < QUICK_RESTARTS ? 0 : this.#backoff.next();
    this.#restartAtMs = now + waitMs;
    this.#world.log.warn(`filter "${plan.ref.name}": ${trap.reason}`, {
      sha256: plan.ref.sha256,
      traps: counts.traps,
      restartMs: Math.round(waitMs),
    });
  }

  #start(): void {
    try {
      const guest = new Guest(this.plan, this.#world);
      this.holder.fold = MetricFold.of(guest, this.plan, this.#store);
      this.#guest = guest;
      this.#granted = guest.allowance;
      this.#grant(guest, 0, this.#world.now());
    } catch (e) {
      this.counts.lastError = errorText(e);
      this.#restartAtMs = this.#world.now() + this.#backoff.next();
    }
  }

  #restart(): Guest | null {
    if (this.#world.now() < this.#restartAtMs) return null;
    const startedMs = this.#world.now();
    this.#start();
    const now = this.#world.now();
    this.#budget.settle(0, (now - startedMs) * 1e6, now);
    return this.#guest;
  }

  #unavailable(x: Exchange): Verdict {
    if (this.#isOpen) return CONTINUE;
    x.filterError = `filter "${this.plan.ref.name}" failed: ${this.counts.lastError}`;
    return FAILED;
  }
}

/** What a hook's action means; a call-out that it does not wait for is not made. */
function verdictOf(action: number, x: Exchange): Verdict {
  if (action === ACTION_PAUSE) return PAUSED;
  x.callout = null;
  return action === ACTION_REPLY ? REPLY : CONTINUE;
}
