// Observation of a proxy with workers: observers are served by the main thread, requests are in the workers.
// Main tells each worker who wants what, a worker tells what it sees, a few times a second and bounded.

import type { TapRequest } from "../../api/tap.ts";
import { createTimer, type TimerWheel } from "../../core/timers.ts";
import type { TapEvent } from "../../model/tap.ts";
import type { Observer, TapHub } from "../tap/hub.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";

/** A worker's events are sent together after so long. */
const BATCH_MS = 20;

/** The main thread's side: one for all workers. */
export class TapRelay {
  readonly #hub: TapHub;
  readonly #tell: (message: ToWorker) => void;
  readonly #wanted = new Map<
    number,
    { readonly request: TapRequest; readonly observer: Observer }
  >();
  /** Requests that some observer follows: its number for each, by worker, observer and the worker's number. */
  readonly #streams = new Map<number, Map<string, number>>();

  /** `tell` reaches every worker that runs. */
  constructor(hub: TapHub, tell: (message: ToWorker) => void) {
    this.#hub = hub;
    this.#tell = tell;
    hub.onObserve = (id, request, observer) => {
      this.#wanted.set(id, { request, observer });
      tell({ type: "tap", id, request });
    };
    hub.onLeave = (id) => {
      tell({ type: "untap", id });
      // What began is told to its end, unless nobody reads.
      if (this.#wanted.get(id)?.observer.done === true) this.#forget(id);
    };
  }

  /** What a worker that begins must know. */
  *all(): IterableIterator<ToWorker> {
    for (const [id, { request, observer }] of this.#wanted) {
      if (observer.isWanting) yield { type: "tap", id, request };
    }
  }

  /** What a worker saw for an observer. */
  events(worker: number, id: number, events: readonly TapEvent[]): void {
    const observer = this.#wanted.get(id)?.observer;
    if (observer === undefined) return;
    let streams = this.#streams.get(worker);
    if (streams === undefined) this.#streams.set(worker, streams = new Map());
    for (const event of events) {
      const key = `${id} ${event.id.stream}`;
      if (event.event.kind === "request" && observer.wants(event.subject)) {
        streams.set(key, this.#hub.nextStream());
        observer.began();
      }
      const stream = streams.get(key);
      // Another worker's requests were enough.
      if (stream === undefined) continue;
      observer.push({ ...event, id: { base: id, stream } });
      if (event.event.kind !== "end") continue;
      streams.delete(key);
      observer.ended();
    }
    if (observer.done) this.#forget(id);
  }

  #forget(id: number): void {
    this.#wanted.delete(id);
    for (const streams of this.#streams.values()) {
      for (const key of streams.keys()) if (key.startsWith(`${id} `)) streams.delete(key);
    }
  }

  /** A worker is gone, and with it the ends of its requests. */
  gone(worker: number): void {
    for (const key of this.#streams.get(worker)?.keys() ?? []) {
      this.#wanted.get(Number(key.split(" ")[0]))?.observer.ended();
    }
    this.#streams.delete(worker);
  }
}

/** A worker's side. */
export class WorkerTap {
  readonly #hub: TapHub;
  readonly #driver: { readonly timers: TimerWheel; readonly now: number };
  readonly #post: (message: FromWorker) => void;
  readonly #observers = new Map<number, Observer>();

  constructor(
    hub: TapHub,
    driver: { readonly timers: TimerWheel; readonly now: number },
    post: (message: FromWorker) => void,
  ) {
    this.#hub = hub;
    this.#driver = driver;
    this.#post = post;
  }

  tap(id: number, request: TapRequest): void {
    const observer = this.#hub.observe(request);
    if (observer === null) return;
    this.#observers.set(id, observer);
    let isPlanned = false;
    const timer = createTimer(() => {
      isPlanned = false;
      const events: TapEvent[] = [];
      for (let e = observer.take(); e !== null; e = observer.take()) events.push(e);
      if (events.length > 0) this.#post({ type: "tapped", id, events });
      if (observer.done) this.#observers.delete(id);
    });
    observer.ready = () => {
      if (isPlanned) return;
      isPlanned = true;
      this.#driver.timers.arm(timer, this.#driver.now + BATCH_MS);
    };
  }

  /** Enough requests began; those that did are told to their end. */
  untap(id: number): void {
    const observer = this.#observers.get(id);
    observer?.stop();
    if (observer?.done === true) this.#observers.delete(id);
  }
}
