// Who observes requests now. The data plane tests one integer per request; everything else happens only
// while somebody looks. Each observer has a bounded queue: what it does not read in time is dropped and
// counted, never waited for.

import { type TapEvent, tapMatches, type TapSubject } from "../../model/tap.ts";
import type { TapRequest } from "../../api/tap.ts";

/** Events that wait for one observer; as the reference. */
export const MAX_EVENTS = 400;
/** Observers at once. */
export const MAX_OBSERVERS = 16;

/** One call of `Observe`. */
export class Observer {
  readonly headers: boolean;
  readonly base: number;
  /** Events that were not kept, since it read too slowly. */
  dropped = 0;
  /** Called when an event or the end is there to be taken. */
  ready: () => void = () => {};
  readonly #request: TapRequest;
  readonly #events: TapEvent[] = [];
  readonly #left: () => void;
  /** Requests that may still begin, and those that have not ended. */
  #remaining: number;
  #open = 0;
  #closed = false;

  constructor(request: TapRequest, base: number, left: () => void) {
    this.#request = request;
    this.headers = request.headers;
    this.base = base;
    this.#remaining = request.limit;
    this.#left = left;
  }

  /** Every wanted request began and ended. */
  get done(): boolean {
    return this.#closed || (this.#remaining === 0 && this.#open === 0);
  }

  /** More requests may begin. */
  get isWanting(): boolean {
    return this.#remaining > 0 && !this.#closed;
  }

  /** No more requests begin; those that did are told to their end. Idempotent. */
  stop(): void {
    if (!this.isWanting) return;
    this.#remaining = 0;
    this.#left();
  }

  wants(subject: TapSubject): boolean {
    return this.isWanting && tapMatches(this.#request.match, subject);
  }

  /** A wanted request begins; `ended` must follow. */
  began(): void {
    this.#open++;
    if (--this.#remaining === 0) this.#left();
  }

  ended(): void {
    this.#open--;
    if (this.done) this.ready();
  }

  push(event: TapEvent): void {
    if (this.#closed) return;
    if (this.#events.length >= MAX_EVENTS) {
      this.dropped++;
      return;
    }
    this.#events.push(event);
    this.ready();
  }

  /** The oldest event, or null when there is none. */
  take(): TapEvent | null {
    return this.#events.shift() ?? null;
  }

  /** Nobody reads any more. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.length = 0;
    this.#left();
  }
}

/** The observers of one data plane. */
export class TapHub {
  /** Observers that want more requests: what the data plane tests. */
  active = 0;
  /** Called when an observer begins, and when it wants no more requests. */
  onObserve: (base: number, request: TapRequest, observer: Observer) => void = () => {};
  onLeave: (base: number) => void = () => {};
  readonly #observers = new Set<Observer>();
  #lastBase = 0;
  #lastStream = 0;

  /** Null: there are too many. */
  observe(request: TapRequest): Observer | null {
    if (this.#observers.size >= MAX_OBSERVERS) return null;
    const base = ++this.#lastBase;
    const observer = new Observer(request, base, () => {
      if (!this.#observers.delete(observer)) return;
      this.active = this.#observers.size;
      this.onLeave(base);
    });
    this.#observers.add(observer);
    this.active = this.#observers.size;
    this.onObserve(base, request, observer);
    return observer;
  }

  /** Observers that want the request. */
  wanting(subject: TapSubject): readonly Observer[] {
    return [...this.#observers].filter((o) => o.wants(subject));
  }

  nextStream(): number {
    return ++this.#lastStream;
  }
}

/** For a data plane that cannot be observed. */
export const NOBODY: TapHub = new TapHub();
