// Joins of tables to values that streams follow. A join is shared by all streams that ask the same
// question, kept while one of them is open, and computed again only when a namespace that it read
// changed.

import { type Watch, WatchSource } from "../core/watch.ts";
import type { Cluster, Dirty } from "./cluster.ts";
import { deepEqual } from "./equal.ts";

/** Namespaces that a computation read; `null` once it depends on all of them. */
export class Reads {
  readonly namespaces = new Set<string>();
  everything = false;

  touchedBy(dirty: Dirty): boolean {
    if (this.everything) return true;
    for (const namespace of this.namespaces) {
      if (dirty.has(namespace)) return true;
    }
    return false;
  }
}

/** A join in use. */
export interface Lease<T> {
  readonly watch: Watch<T>;
  /** Idempotent. */
  release(): void;
}

interface Entry<T> {
  readonly source: WatchSource<T>;
  readonly compute: (reads: Reads) => T;
  reads: Reads;
  leases: number;
}

/** Answers questions of one kind from the cluster. `key` is the question; equal keys share an answer. */
export class JoinCache<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #end: () => void;

  constructor(cluster: Cluster) {
    this.#end = cluster.subscribe((dirty) => {
      for (const entry of this.#entries.values()) {
        if (entry.reads.touchedBy(dirty)) refresh(entry);
      }
    });
  }

  /** The answer now, and as it changes. Publishes only values that differ. */
  lease(key: string, compute: (reads: Reads) => T): Lease<T> {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const reads = new Reads();
      entry = { source: new WatchSource(compute(reads)), compute, reads, leases: 0 };
      this.#entries.set(key, entry);
    }
    const held = entry;
    held.leases++;
    let released = false;
    return {
      watch: held.source,
      release: () => {
        if (released) return;
        released = true;
        if (--held.leases === 0) this.#entries.delete(key);
      },
    };
  }

  /** Questions that are open. */
  get size(): number {
    return this.#entries.size;
  }

  close(): void {
    this.#end();
  }
}

function refresh<T>(entry: Entry<T>): void {
  const reads = new Reads();
  const value = entry.compute(reads);
  entry.reads = reads;
  if (!deepEqual(value, entry.source.value)) entry.source.set(value);
}

/**
 * The values of a watch, newest first, until the signal aborts: then it ends in order. A slow reader
 * misses what was replaced meanwhile. The lease is taken when reading begins, since a stream that is
 * never read would never give it back.
 */
export async function* follow<T>(open: () => Lease<T>, signal: AbortSignal): AsyncGenerator<T> {
  const lease = open();
  try {
    let seen = lease.watch.value;
    while (!signal.aborted) {
      yield seen;
      try {
        seen = await lease.watch.changed(seen, signal);
      } catch (e) {
        if (signal.aborted) return;
        throw e;
      }
    }
  } finally {
    lease.release();
  }
}

/** The answer at this moment. */
export function now<T>(lease: Lease<T>): T {
  lease.release();
  return lease.watch.value;
}
