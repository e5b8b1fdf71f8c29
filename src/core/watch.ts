// A value that changes. Stores publish whole values; a slow reader sees the newest, never a backlog.

/** The reading side. */
export interface Watch<T> extends AsyncIterable<T> {
  readonly value: T;
  /** Resolves with the newest value once it differs from `seen` (by identity); rejects on abort. */
  changed(seen: T, signal?: AbortSignal): Promise<T>;
  /** Calls on each change, synchronously; the returned function ends it. */
  subscribe(listener: (value: T) => void): () => void;
}

/** The writing side: one owner. */
export class WatchSource<T> implements Watch<T> {
  #value: T;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** Publishes. Setting the identical value tells nobody. */
  set(value: T): void {
    if (value === this.#value) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  subscribe(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  changed(seen: T, signal?: AbortSignal): Promise<T> {
    if (this.#value !== seen) return Promise.resolve(this.#value);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const done = () => {
        end();
        signal?.removeEventListener("abort", onAbort);
      };
      const end = this.subscribe((value) => {
        done();
        resolve(value);
      });
      const onAbort = () => {
        done();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    let seen = this.#value;
    while (true) {
      yield seen;
      seen = await this.changed(seen);
    }
  }
}
