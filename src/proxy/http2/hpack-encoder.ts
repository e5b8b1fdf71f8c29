// HPACK (RFC 7541): fields to header blocks. What came as an object of a table goes out by its index
// when this table has it, found without looking at a byte; a literal goes out as it came; only fields
// from elsewhere – HTTP/1, edits – are looked up by their bytes.

import { copy } from "./field-bytes.ts";
import { INDEX, NEVER_INDEX, wayOf } from "./field-rules.ts";
import { DEFAULT_TABLE_BYTES } from "./hpack-decoder.ts";
import { ENTRY_OVERHEAD, type HpackField, hpackField } from "./hpack-field.ts";
import { findStatic, findStaticName, hashOf, NAME_SEED, STATIC_COUNT } from "./hpack-static.ts";
import { huffmanString, integer, stringEnd } from "./hpack-string.ts";
import { HpackTable } from "./hpack-table.ts";

/** Index of the newest entry of the dynamic table. */
const NEWEST = STATIC_COUNT + 1;

/** Tables that were made in this thread: each has its own number, which fields remember. */
let tables = 0;

/** The sending half of one connection's compression state. */
export class HpackEncoder {
  readonly #table: HpackTable;
  readonly #id = ++tables;
  // size updates that the next block must begin with (§4.2); -1: none
  #lowest = -1;
  #last = -1;

  /** `tableBytes`, at most 4096, bounds our memory; the peer may lower it by `limit`. */
  constructor(tableBytes: number = DEFAULT_TABLE_BYTES) {
    this.#table = new HpackTable(Math.min(tableBytes, DEFAULT_TABLE_BYTES), true);
    if (tableBytes < DEFAULT_TABLE_BYTES) this.#lowest = this.#last = tableBytes;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limit(tableBytes: number): void {
    const max = Math.min(tableBytes, this.#table.capacity);
    if (max === this.#table.max) return;
    this.#lowest = this.#lowest < 0 ? max : Math.min(this.#lowest, max);
    this.#last = max;
    this.#table.resize(max);
  }

  /** Begins a block in `dst` at `at`; the new end. */
  begin(dst: Uint8Array, at: number): number {
    if (this.#last < 0) return at;
    if (this.#lowest < this.#last) at = integer(dst, at, 0x20, 0x1f, this.#lowest);
    at = integer(dst, at, 0x20, 0x1f, this.#last);
    this.#lowest = this.#last = -1;
    return at;
  }

  /** Writes a field of a table; `dst` has room (`blockRoom`). Returns the new end. */
  known(field: HpackField, dst: Uint8Array, at: number): number {
    if (field.index > 0) {
      dst[at] = 0x80 | field.index;
      return at + 1;
    }
    if (wayOf(field.rule) === NEVER_INDEX) {
      at = this.#name(field, 0x10, 0x0f, dst, at);
      const packed = field.packed();
      return copy(packed, 0, packed.length, dst, at);
    }
    const table = this.#table;
    let age = field.table === this.#id ? table.ageOf(field.added) : -1;
    if (age < 0) {
      const { line, nameTo, valueFrom, valueTo } = field;
      age = table.find(field.hash, line, 0, nameTo, line, valueFrom, valueTo);
      if (age < 0) return this.#add(field, dst, at);
      field.table = this.#id;
      field.added = (table.added - age) | 0;
    }
    return integer(dst, at, 0x80, 0x7f, NEWEST + age);
  }

  /** Writes a field that the table has not, and keeps it unless it would take the place of many. */
  #add(field: HpackField, dst: Uint8Array, at: number): number {
    const { line, valueFrom, valueTo } = field;
    const isKept = this.#keeps(field.weight);
    at = isKept ? this.#name(field, 0x40, 0x3f, dst, at) : this.#name(field, 0, 0x0f, dst, at);
    at = huffmanString(line, valueFrom, valueTo, dst, at);
    if (isKept) {
      this.#table.add(field);
      field.table = this.#id;
      field.added = this.#table.added;
    }
    return at;
  }

  #keeps(weight: number): boolean {
    return weight * 2 <= this.#table.max;
  }

  #name(field: HpackField, bits: number, mask: number, dst: Uint8Array, at: number): number {
    const { line, nameTo, nameIndex, nameHash } = field;
    return this.#nameOf(nameIndex, nameHash, line, 0, nameTo, bits, mask, dst, at);
  }

  /** Writes a literal's first byte and its name, by an index when there is one. */
  #nameOf(
    known: number,
    hash: number,
    buf: Uint8Array,
    from: number,
    to: number,
    bits: number,
    mask: number,
    dst: Uint8Array,
    at: number,
  ): number {
    if (known > 0) return integer(dst, at, bits, mask, known);
    const age = this.#table.findName(hash, buf, from, to);
    if (age >= 0) return integer(dst, at, bits, mask, NEWEST + age);
    dst[at] = bits;
    return huffmanString(buf, from, to, dst, at + 1);
  }

  /**
   * Writes a field that is kept in no table and whose name and value are, from `packed` on, the strings
   * of HPACK that they came as (§5.2). `never`: nor may any other hop keep it.
   */
  packed(buf: Uint8Array, packed: number, never: boolean, dst: Uint8Array, at: number): number {
    dst[at] = never ? 0x10 : 0;
    return copy(buf, packed, stringEnd(buf, stringEnd(buf, packed)), dst, at + 1);
  }

  /** As `packed`, where only the value is. The name is lower case. */
  packedValue(
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    buf: Uint8Array,
    packed: number,
    never: boolean,
    dst: Uint8Array,
    at: number,
  ): number {
    const hash = hashOf(NAME_SEED, nameBuf, nameFrom, nameTo);
    const known = findStaticName(hash, nameBuf, nameFrom, nameTo);
    at = this.#nameOf(known, hash, nameBuf, nameFrom, nameTo, never ? 0x10 : 0, 0x0f, dst, at);
    return copy(buf, packed, stringEnd(buf, packed), dst, at);
  }

  /** Writes one field, whose name is lower case; `dst` has room (`blockRoom`). Returns the new end. */
  field(
    buf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    from: number,
    to: number,
    dst: Uint8Array,
    at: number,
    how: number = INDEX,
  ): number {
    const nameHash = hashOf(NAME_SEED, buf, nameFrom, nameTo);
    if (how !== NEVER_INDEX) {
      const hash = hashOf(nameHash, buf, from, to);
      const known = findStatic(hash, buf, nameFrom, nameTo, from, to);
      if (known > 0) {
        dst[at] = 0x80 | known;
        return at + 1;
      }
      const age = this.#table.find(hash, buf, nameFrom, nameTo, buf, from, to);
      if (age >= 0) return integer(dst, at, 0x80, 0x7f, NEWEST + age);
      if (how === INDEX && this.#keeps(nameTo - nameFrom + to - from + ENTRY_OVERHEAD)) {
        return this.#add(hpackField(buf, nameFrom, nameTo, buf, from, to), dst, at);
      }
    }
    const known = findStaticName(nameHash, buf, nameFrom, nameTo);
    const bits = how === NEVER_INDEX ? 0x10 : 0;
    at = this.#nameOf(known, nameHash, buf, nameFrom, nameTo, bits, 0x0f, dst, at);
    return huffmanString(buf, from, to, dst, at);
  }
}
