// The dynamic table of HPACK (RFC 7541 §2.3.2): a ring of fields, the same for both directions. The
// encoder's has an index by hash, since it looks up what did not come by an index.

import { ENTRY_OVERHEAD, type HpackField, isNamed, says } from "./hpack-field.ts";
import { bucketOf, BUCKETS } from "./hpack-static.ts";

/** Entries under their age: 0 is the newest. `capacity` bounds its memory for ever. */
export class HpackTable {
  readonly capacity: number;
  /** The most that entries may weigh now; at most `capacity`. */
  #max: number;
  #size = 0;
  #count = 0;
  /** Entries ever added, modulo 2³²; the newest has this number, and lies in the slot of its low bits. */
  #added = 0;
  readonly #slots: number;
  readonly #ring: (HpackField | null)[];
  /**
   * Entries by field, then by name: numbers of the newest in each bucket, then for each slot the number
   * of the next older one. A chain ends at a number that is no longer in the table, so that evicting
   * touches nothing. Null: not indexed.
   */
  readonly #index: Int32Array | null;

  /** `indexed`: `find` and `findName` are used. */
  constructor(capacity: number, indexed = false) {
    this.capacity = capacity;
    this.#max = capacity;
    let slots = 1;
    while (slots * ENTRY_OVERHEAD < capacity) slots *= 2;
    this.#slots = slots;
    this.#ring = new Array(slots).fill(null);
    this.#index = indexed ? new Int32Array((BUCKETS + slots) * 2) : null;
  }

  get max(): number {
    return this.#max;
  }

  /** Number of the newest entry. */
  get added(): number {
    return this.#added;
  }

  /** Changes the bound, evicting what no longer fits. `max` is at most `capacity`. */
  resize(max: number): void {
    this.#max = Math.min(max, this.capacity);
    this.#evict(this.#max);
  }

  /** The entry that so many newer ones came after, or null. */
  at(age: number): HpackField | null {
    if (age < 0 || age >= this.#count) return null;
    return this.#ring[(this.#added - age) & (this.#slots - 1)] as HpackField;
  }

  /** The age of entry number `n`, or -1: it is no longer there. */
  ageOf(n: number): number {
    const age = (this.#added - n) | 0;
    return age >= 0 && age < this.#count ? age : -1;
  }

  /** Adds a field. One over the bound empties the table (§4.4). */
  add(field: HpackField): void {
    const { weight } = field;
    if (weight > this.#max) return this.#evict(0);
    this.#evict(this.#max - weight);
    this.#added = (this.#added + 1) | 0;
    const slot = this.#added & (this.#slots - 1);
    this.#ring[slot] = field;
    this.#count++;
    this.#size += weight;
    const index = this.#index;
    if (index === null) return;
    this.#chain(index, bucketOf(field.hash), 2 * BUCKETS + slot);
    this.#chain(index, BUCKETS + bucketOf(field.nameHash), 2 * BUCKETS + this.#slots + slot);
  }

  #chain(index: Int32Array, bucket: number, next: number): void {
    index[next] = index[bucket] as number;
    index[bucket] = this.#added;
  }

  /** The age of the field with that hash, or -1. Of an indexed table only. */
  find(
    hash: number,
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    buf: Uint8Array,
    from: number,
    to: number,
  ): number {
    const index = this.#index as Int32Array;
    let n = index[bucketOf(hash)] as number;
    for (let age = this.ageOf(n); age >= 0; age = this.ageOf(n)) {
      const slot = n & (this.#slots - 1);
      const field = this.#ring[slot] as HpackField;
      if (field.hash === hash && says(field, nameBuf, nameFrom, nameTo, buf, from, to)) return age;
      n = index[2 * BUCKETS + slot] as number;
    }
    return -1;
  }

  /** The age of the newest field whose name has that hash, or -1. */
  findName(hash: number, buf: Uint8Array, from: number, to: number): number {
    const index = this.#index as Int32Array;
    let n = index[BUCKETS + bucketOf(hash)] as number;
    for (let age = this.ageOf(n); age >= 0; age = this.ageOf(n)) {
      const slot = n & (this.#slots - 1);
      const field = this.#ring[slot] as HpackField;
      if (field.nameHash === hash && isNamed(field, buf, from, to)) return age;
      n = index[2 * BUCKETS + this.#slots + slot] as number;
    }
    return -1;
  }

  #evict(max: number): void {
    while (this.#size > max) {
      const slot = (this.#added - --this.#count) & (this.#slots - 1);
      this.#size -= (this.#ring[slot] as HpackField).weight;
      this.#ring[slot] = null;
    }
  }
}
