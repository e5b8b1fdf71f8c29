// One worker as the main thread holds it: what it was asked and what it answered, its sheet, and what it
// watches. Restarting is the fleet's; a link lives as long as its thread.

import type { SocketAddr } from "../../core/addr.ts";
import type { Clock } from "../../core/clock.ts";
import { FilterRefused, type ShippedFilter } from "../../core/filter.ts";
import type { Logger } from "../../core/log.ts";
import { RemoteSheet } from "../../core/sheet-sum.ts";
import type { FilterTaker } from "./fleet-engine.ts";
import type { TapEvent } from "../../model/tap.ts";
import type { FromWorker, ToWorker, WorkerReport, WorkerStart } from "./protocol.ts";
import { type SenderOptions, SnapshotSender } from "./snapshot-sender.ts";

/** Within this a worker acknowledges a filter: its start section may use so much fuel. */
export const TAKE_MS = 5_000;
/** How often a worker is asked whether it is there; what main sends waits in memory until it is. */
export const PING_MS = 10_000;
/** Questions in a row without an answer, after which it hangs and is ended. */
const MAX_UNANSWERED = 3;
/** Within this it reports; else its last report counts. */
const REPORT_MS = 1_000;

/** A thread to talk to; `runtime/workers.ts` starts one. */
export interface Thread {
  post(message: unknown): void;
  end(): void;
}
/** Starts a worker thread with a clone of `start`. */
export type StartThread = (
  name: string,
  start: WorkerStart,
  on: { message(message: unknown): void; ended(why: string): void },
) => Thread;

export interface LinkOptions {
  readonly start: StartThread;
  readonly data: WorkerStart;
  readonly snapshots: Pick<SenderOptions, "discovery" | "membersOf">;
  readonly clock: Clock;
  readonly log: Logger;
  /** It watches this port. */
  watches(port: number): void;
  /** It counts no longer in a series of its sheet. */
  dropped(link: WorkerLink, family: string, labels: string): void;
  /** It saw requests that an observer wants. */
  tapped?(worker: number, id: number, events: readonly TapEvent[]): void;
  /** Once, when the thread is gone. */
  ended(link: WorkerLink, why: string): void;
}

/** A running worker. */
export class WorkerLink implements FilterTaker {
  readonly number: number;
  readonly sheet = new RemoteSheet();
  /** When it began. */
  readonly sinceMs: number;
  /** The newest report, if there was one. */
  newest: WorkerReport | null = null;
  /** Its data plane was built. */
  hasStarted = false;
  isServing = false;
  readonly #o: LinkOptions;
  readonly #thread: Thread;
  readonly #sender: SnapshotSender;
  readonly #takes = new Map<number, (refused: string | null) => void>();
  readonly #listening = Promise.withResolvers<readonly SocketAddr[]>();
  readonly #drained = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #report: { readonly id: number; resolve(): void } | null = null;
  #reports = 0;
  #unanswered = 0;
  #cancelPing: () => void = () => {};

  constructor(o: LinkOptions) {
    this.#o = o;
    this.number = o.data.number;
    this.sinceMs = o.clock.now();
    this.#listening.promise.catch(() => {}); // whoever asked hears of it
    this.#thread = o.start(`tulle-${this.number}`, o.data, {
      message: (message) => this.#message(message as FromWorker),
      ended: (why) => this.#gone(why),
    });
    this.#sender = new SnapshotSender({
      ...o.snapshots,
      log: o.log,
      post: (message) => this.post(message),
    });
    this.#ping();
  }

  post(message: ToWorker): void {
    this.#thread.post(message);
  }

  async take(id: number, filter: ShippedFilter): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const cancel = this.#o.clock.after(TAKE_MS, () => {
      reject(new Error(`worker ${this.number} did not acknowledge within ${TAKE_MS} ms`));
    });
    this.#takes.set(id, (refused) => {
      if (refused === null) resolve();
      else reject(new FilterRefused(`worker ${this.number}: ${refused}`));
    });
    try {
      this.post({ type: "filter", id, filter });
      await promise;
    } finally {
      cancel();
      this.#takes.delete(id);
    }
  }

  forget(id: number): void {
    this.post({ type: "forget", id });
  }

  /** Begins to accept. Rejects with why it cannot, or that it is gone. */
  async listen(): Promise<readonly SocketAddr[]> {
    this.post({ type: "listen" });
    const addrs = await this.#listening.promise;
    this.isServing = true;
    return addrs;
  }

  /** Asks for a report; the last one counts when it does not come in time. */
  async report(): Promise<WorkerReport | null> {
    this.#report?.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const id = ++this.#reports;
    this.#report = { id, resolve };
    const cancel = this.#o.clock.after(REPORT_MS, resolve);
    this.post({ type: "report", id });
    await promise;
    cancel();
    return this.newest;
  }

  /** Resolves when its requests are finished, at the latest some time after `graceMs`. */
  async drain(graceMs: number): Promise<void> {
    this.post({ type: "drain", graceMs });
    await this.#within(this.#drained.promise, graceMs + 1_000);
  }

  /** Ends the thread: asked first, then by force. */
  async leave(): Promise<void> {
    this.post({ type: "leave" });
    await this.#within(this.#ended.promise, 1_000);
    this.#thread.end();
    await this.#within(this.#ended.promise, 1_000);
  }

  async #within(what: Promise<void>, ms: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const cancel = this.#o.clock.after(ms, late.resolve);
    await Promise.race([what, late.promise]);
    cancel();
  }

  #ping(): void {
    this.#cancelPing = this.#o.clock.after(PING_MS, () => {
      if (this.#unanswered++ < MAX_UNANSWERED) {
        this.post({ type: "ping" });
        return this.#ping();
      }
      this.#o.log.error("A worker hangs and is ended", { worker: this.number });
      this.#thread.end();
    });
  }

  #message(m: FromWorker): void {
    switch (m.type) {
      case "started":
        this.hasStarted = true;
        return;
      case "cells":
        return this.sheet.memory(m.cells);
      case "series":
        return this.sheet.series(m.family, m.series);
      case "dropped":
        return this.#o.dropped(this, m.family, m.labels);
      case "took":
        return this.#took(m.id, m.refused);
      case "outbound":
        return this.#sender.open(m);
      case "inbound":
        this.#o.watches(m.port);
        return this.#sender.open(m);
      case "release":
        return this.#sender.release(m.id);
      case "listening":
        return this.#listening.resolve(m.addrs);
      case "deaf":
        return this.#listening.reject(new Error(m.why));
      case "report":
        this.newest = m.report;
        if (this.#report?.id === m.id) this.#report.resolve();
        return;
      case "tapped":
        return this.#o.tapped?.(this.number, m.id, m.events);
      case "pong":
        this.#unanswered = 0;
        return;
      case "drained":
        return this.#drained.resolve();
    }
  }

  #took(id: number, refused: string | null): void {
    const waiting = this.#takes.get(id);
    if (waiting !== undefined) return waiting(refused);
    if (refused === null) return;
    // It began after the others had taken it.
    this.#o.log.error("A worker could not take a filter that the others run", {
      worker: this.number,
      error: refused,
    });
  }

  #gone(why: string): void {
    this.#cancelPing();
    this.isServing = false;
    this.#sender.close();
    // What is gone has nothing to acknowledge: the next one begins with every filter.
    for (const resolve of this.#takes.values()) resolve(null);
    this.#report?.resolve();
    this.#drained.resolve();
    this.#listening.reject(new Error(`worker ${this.number} ended: ${why}`));
    this.#ended.resolve();
    this.#o.ended(this, why);
  }
}
