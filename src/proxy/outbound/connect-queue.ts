// Requests over HTTP/2 whose endpoints cannot be connected to wait here, and whoever is free dials for
// all of them: one queue for each backend of a target, one for an application. Bounded in number and
// time; past the time it is shut, and requests fail at once until a connection is there. Requests on
// open connections never come here.

import type { Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import { createTimer, type Timer } from "../../core/timers.ts";

/** What the queue dials. */
export interface Dialled {
  /** Not dialled before: the back-off of its last failure. On the driver's clock. */
  readonly awayUntilMs: number;
  /** Whether it has a connection of HTTP/2. */
  readonly isOpen: boolean;
  /** Begins one unless it is under way; false: requests that are not `isHttp2` dial for themselves. */
  dial(isHttp2: boolean): boolean;
}

/** A request that has no connection yet. */
export interface Waiter {
  /** Its client speaks HTTP/2. */
  readonly isHttp2: boolean;
  /** There is a connection: it goes on, and has left the queue. */
  retry(): void;
  /** None came in time: it is over, and has left the queue. */
  expired(why: MeshError): void;
}

/** Bounds of a queue, and whom it is for. */
export interface ConnectQueueOptions {
  readonly driver: Driver;
  /** How long a request waits, as long as there is no connection. */
  readonly failfastMs: number;
  /** Requests that wait at once. */
  readonly capacity: number;
  /** What is the matter while requests wait, for error messages: "No endpoint of … can be …". */
  trouble(): string;
  /** The endpoints of now. */
  members(): readonly Dialled[];
  /** Requests fail at once from now on, or no more. */
  gate(isShut: boolean): void;
}

export class ConnectQueue {
  readonly #o: ConnectQueueOptions;
  readonly #waiting = new Set<Waiter>();
  /** The time of those that wait: of the oldest since there was a connection. */
  readonly #limit: Timer;
  /** Looks whom to dial, and whether somebody is there. */
  readonly #turn: Timer;
  #isShut = false;
  #isClosed = false;
  /** Somebody was connected to, if only for a moment. */
  #isReady = false;
  /** A client of HTTP/2 waits, or was the last to. */
  #isHttp2 = false;
  #why = "";

  constructor(options: ConnectQueueOptions) {
    this.#o = options;
    this.#limit = createTimer(() => this.#expire());
    this.#turn = createTimer(() => this.#look());
  }

  /** Requests without a connection. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Requests fail at once. */
  get isShut(): boolean {
    return this.#isShut;
  }

  /** From now on the request has its time from the queue; not null: it may not wait, and why. */
  enter(one: Waiter): MeshError | null {
    const { driver, failfastMs, capacity } = this.#o;
    if (this.#isShut) return this.failfast();
    if (this.#waiting.has(one)) return null;
    if (this.size >= capacity) {
      return new MeshError(
        "overload",
        `${this.size} requests wait already: ${this.#o.trouble()}`,
      );
    }
    if (this.size === 0) {
      this.#isHttp2 = this.#isReady = false;
      driver.timers.arm(this.#limit, driver.now + failfastMs);
    }
    if (one.isHttp2) this.#isHttp2 = true;
    this.#waiting.add(one);
    return null;
  }

  /** Nobody dials for the request: the queue does. `why`: what its last connection failed by, or null. */
  wait(why: MeshError | null): void {
    if (why !== null) this.#why = why.message;
    this.#lookSoon();
  }

  /** The request goes on, or is over. */
  leave(one: Waiter): void {
    if (!this.#waiting.delete(one) || this.size > 0) return;
    this.#o.driver.timers.cancel(this.#limit);
    this.#o.driver.timers.cancel(this.#turn);
  }

  /** An endpoint was connected to: those that wait go on, but not in the middle of its beginning. */
  connected(): void {
    this.#isReady = true;
    this.changed();
  }

  /** An endpoint could not be connected to: what the last one failed by is what requests are told. */
  failed(why: string): void {
    if (this.size === 0 && !this.#isShut) return;
    this.#why = why;
    this.changed();
  }

  /** An endpoint came to the set. */
  changed(): void {
    if ((this.size > 0 || this.#isShut) && !this.#isClosed) this.#lookSoon();
  }

  /** What a request is told that does not wait, or waited in vain. */
  failfast(waitedMs = 0): MeshError {
    const why = this.#why === "" ? "" : `: ${this.#why}`;
    const waited = waitedMs === 0 ? "" : ` (waited ${waitedMs} ms)`;
    return new MeshError("failfast", `${this.#o.trouble()}${why}${waited}`);
  }

  /** The target is not used any more. */
  close(): void {
    this.#o.driver.timers.cancel(this.#limit);
    this.#o.driver.timers.cancel(this.#turn);
    this.#isShut = this.#isClosed = true;
    const why = new MeshError("shutdown", `${this.#o.trouble()}, and it is not used any more`);
    for (const one of this.#taken()) one.expired(why);
  }

  #lookSoon(): void {
    const { driver } = this.#o;
    driver.timers.arm(this.#turn, driver.now);
  }

  /** Dials whom it may; lets everybody go once somebody is there. */
  #look(): void {
    const { driver, members } = this.#o;
    let isReady = this.#isReady;
    let nextMs = Infinity;
    for (const one of members()) {
      if (one.isOpen) isReady = true;
      else if (one.awayUntilMs > driver.now) nextMs = Math.min(nextMs, one.awayUntilMs);
      else if (!one.dial(this.#isHttp2)) isReady = true;
    }
    if (isReady) this.#open();
    // Unless it is to look sooner already: a connection may fail while it is begun.
    else if (nextMs < this.#turn.at) driver.timers.arm(this.#turn, nextMs);
  }

  #open(): void {
    this.#o.driver.timers.cancel(this.#limit);
    this.#why = "";
    this.#isReady = false;
    if (this.#isShut) {
      this.#isShut = false;
      this.#o.gate(false);
    }
    for (const one of this.#taken()) one.retry();
  }

  /** Nobody is there in time; who waits is told, and dialling goes on. */
  #expire(): void {
    if (this.#o.members().some((one) => one.isOpen)) return this.#open();
    this.#isShut = true;
    this.#o.gate(true);
    this.#lookSoon();
    const why = this.failfast(this.#o.failfastMs);
    for (const one of this.#taken()) one.expired(why);
  }

  #taken(): Waiter[] {
    const all = [...this.#waiting];
    this.#waiting.clear();
    return all;
  }
}
