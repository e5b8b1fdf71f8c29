// One target's newest snapshot, shared by everybody who asked for the target, and kept for a while after
// the last one left. Reading it is a field read.

import type { Clock } from "../../core/clock.ts";
import type { Watched } from "./discovery.ts";

/** How long a target without readers is kept; `drop` ends it. Null: for ever. */
export interface Lease {
  readonly clock: Clock;
  readonly idleMs: number;
  drop(): void;
}

/** The writing side. */
export class Shared<T> {
  #value: T | null = null;
  #why = "";
  readonly #handles = new Set<Handle<T>>();
  readonly #lease: Lease | null;
  #cancelDrop: (() => void) | null = null;
  #closed = false;

  constructor(lease: Lease | null) {
    this.#lease = lease;
  }

  get value(): T | null {
    return this.#value;
  }

  /** Whether nobody reads it. */
  get idle(): boolean {
    return this.#handles.size === 0;
  }

  /** A new reader. */
  open(): Watched<T> {
    this.#cancelDrop?.();
    this.#cancelDrop = null;
    const handle = new Handle<T>(this.#value, this.#why, (h) => this.#released(h));
    this.#handles.add(handle);
    return handle;
  }

  /** Every reader sees the value before any listener hears of it. */
  publish(value: T, why = ""): void {
    this.#value = value;
    this.#why = why;
    for (const handle of this.#handles) {
      handle.value = value;
      handle.why = why;
    }
    for (const handle of [...this.#handles]) handle.tell(value);
  }

  /** Says why there is no value, or what is wrong with it. */
  explain(why: string): void {
    this.#why = why;
    for (const handle of this.#handles) handle.why = why;
    for (const handle of [...this.#handles]) handle.explained(why);
  }

  /** Nothing is dropped any more, now or when readers leave later; for the owner, at its end. */
  close(): void {
    this.#closed = true;
    this.#cancelDrop?.();
    this.#cancelDrop = null;
  }

  #released(handle: Handle<T>): void {
    if (!this.#handles.delete(handle) || this.#handles.size > 0) return;
    if (this.#lease === null || this.#closed) return;
    const { clock, idleMs, drop } = this.#lease;
    this.#cancelDrop = clock.after(idleMs, () => {
      this.#cancelDrop = null;
      drop();
    });
  }
}

/** One reader's view. Releasing it twice does no harm to the others. */
class Handle<T> implements Watched<T> {
  value: T | null;
  why: string;
  readonly #listeners = new Set<(value: T) => void>();
  readonly #explained = new Set<(why: string) => void>();
  readonly #onRelease: (self: Handle<T>) => void;

  constructor(value: T | null, why: string, onRelease: (self: Handle<T>) => void) {
    this.value = value;
    this.why = why;
    this.#onRelease = onRelease;
  }

  subscribe(listener: (value: T) => void, explained?: (why: string) => void): () => void {
    this.#listeners.add(listener);
    if (explained !== undefined) this.#explained.add(explained);
    return () => {
      this.#listeners.delete(listener);
      if (explained !== undefined) this.#explained.delete(explained);
    };
  }

  release(): void {
    this.#listeners.clear();
    this.#explained.clear();
    this.#onRelease(this);
  }

  explained(why: string): void {
    for (const listener of [...this.#explained]) listener(why);
  }

  tell(value: T): void {
    for (const listener of [...this.#listeners]) {
      // An earlier listener may have ended it.
      if (this.#listeners.has(listener)) listener(value);
    }
  }
}

/** A view that never changes: of a target that cannot be looked up. */
export function fixedView<T>(value: T | null, why: string): Watched<T> {
  return { value, why, subscribe: () => () => {}, release: () => {} };
}
