// Rows of one kind of resource. One implementation for every kind; fed by a folder or by an API server,
// read by the joins. Tells which keys changed, and only when a row really did.

import { deepEqual } from "./equal.ts";
import { type Key, keyOf } from "./resource.ts";

interface Named {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Keeps a row for each resource and tells which keys changed.
 *
 * `toRow` may throw: then the row stays as it was, and the error is the caller's to report. A null
 * row removes. `groups` names the groups that a row is found by (`ip 10.0.0.1`, `service shop/web`),
 * so that joins never scan.
 */
export class Table<R extends Named, Row> {
  readonly #toRow: (resource: R) => Row | null;
  readonly #changed: (keys: ReadonlySet<Key>) => void;
  readonly #groups: (row: Row) => readonly string[];
  readonly #rows = new Map<Key, Row>();
  readonly #members = new Map<string, Map<Key, Row>>();

  constructor(
    toRow: (resource: R) => Row | null,
    changed: (keys: ReadonlySet<Key>) => void,
    groups: (row: Row) => readonly string[] = () => [],
  ) {
    this.#toRow = toRow;
    this.#changed = changed;
    this.#groups = groups;
  }

  get rows(): ReadonlyMap<Key, Row> {
    return this.#rows;
  }

  get(key: Key): Row | null {
    return this.#rows.get(key) ?? null;
  }

  /** The rows of a group, in no order. */
  group(name: string): Iterable<Row> {
    return this.#members.get(name)?.values() ?? [];
  }

  apply(resource: R): void {
    const key = keyOf(resource);
    if (this.#put(key, this.#toRow(resource))) this.#changed(new Set([key]));
  }

  remove(resource: Named): void {
    const key = keyOf(resource);
    if (this.#put(key, null)) this.#changed(new Set([key]));
  }

  /** True when the row is another than before. */
  #put(key: Key, row: Row | null): boolean {
    const old = this.#rows.get(key) ?? null;
    if (old === row || (old !== null && row !== null && deepEqual(old, row))) return false;
    if (old !== null) {
      this.#rows.delete(key);
      for (const group of this.#groups(old)) {
        const members = this.#members.get(group);
        members?.delete(key);
        if (members?.size === 0) this.#members.delete(group);
      }
    }
    if (row !== null) {
      this.#rows.set(key, row);
      for (const group of this.#groups(row)) {
        let members = this.#members.get(group);
        if (members === undefined) this.#members.set(group, members = new Map());
        members.set(key, row);
      }
    }
    return true;
  }
}
