// HPACK (RFC 7541): header blocks to fields and back. Below the HTTP/2 codec, which joins
// CONTINUATION frames first; above hpack-table.ts and huffman.ts. Knows nothing of HTTP's rules for
// fields. Every block is bounded by the caller; no input makes it throw.

import { type EntryAt, HpackTable } from "./hpack-table.ts";
import { huffmanDecode, huffmanEncode, huffmanLength } from "./huffman.ts";

/** The longest header block that is decoded; a longer one is refused before its first byte. */
export const MAX_BLOCK_BYTES = 64 * 1024;

/** What both sides begin with (RFC 9113 §6.5.2). */
const DEFAULT_TABLE_BYTES = 4096;

/**
 * Gets the fields of one block, in order. The bytes are lent for the call. A block of indexes may
 * name a large entry thousands of times: the sink bounds what it keeps.
 */
export interface FieldSink {
  field(
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    valueBuf: Uint8Array,
    valueFrom: number,
    valueTo: number,
  ): void;
}

/** Larger integers have no honest meaning here: nothing is that long. */
const MAX_INTEGER = 1 << 24;

// Decoding never suspends, so one scratch serves every connection. Huffman makes at most 8/5 of what
// came in, and a name of the table at most the table's capacity.
const scratch = new Uint8Array(MAX_BLOCK_BYTES * 2 + 64 * 1024);

/** The receiving half of one connection's compression state. */
export class HpackDecoder {
  readonly #table: HpackTable;
  readonly #entry: EntryAt = { bytes: scratch, from: 0, middle: 0, to: 0 };
  // where the last integer or string ended; -1: malformed
  #at = 0;

  /**
   * `tableBytes` is what SETTINGS_HEADER_TABLE_SIZE promises the peer: 4096 to 64 KiB. Less cannot be
   * imposed on blocks that are under way before the peer has read our SETTINGS.
   */
  constructor(tableBytes: number = DEFAULT_TABLE_BYTES) {
    this.#table = new HpackTable(Math.max(DEFAULT_TABLE_BYTES, Math.min(tableBytes, 64 * 1024)));
    this.#table.resize(DEFAULT_TABLE_BYTES);
  }

  /**
   * Decodes one whole block; false when it is malformed, after which the connection's state is lost
   * (COMPRESSION_ERROR). Call it also for a block that is to be refused: the table must follow.
   */
  decode(src: Uint8Array, from: number, to: number, sink: FieldSink): boolean {
    if (to - from > MAX_BLOCK_BYTES) return false;
    const entry = this.#entry;
    let fields = 0;
    this.#at = from;
    while (this.#at < to) {
      const first = src[this.#at] as number;
      if (first >= 0x80) {
        const index = this.#integer(src, to, 0x7f);
        if (index < 0 || !this.#table.at(index, entry)) return false;
        sink.field(entry.bytes, entry.from, entry.middle, entry.bytes, entry.middle, entry.to);
        fields++;
        continue;
      }
      if ((first & 0xe0) === 0x20) {
        const max = this.#integer(src, to, 0x1f);
        // only before the first field (§4.2), and never over what was promised (§6.3)
        if (max < 0 || fields > 0 || max > this.#table.capacity) return false;
        this.#table.resize(max);
        continue;
      }
      const adds = first >= 0x40;
      const index = this.#integer(src, to, adds ? 0x3f : 0x0f);
      if (index < 0) return false;
      let nameTo: number;
      if (index === 0) {
        nameTo = this.#string(src, to, 0);
      } else {
        // copied, because adding may evict the entry that the name is taken from (§4.4)
        if (!this.#table.at(index, entry)) return false;
        nameTo = entry.middle - entry.from;
        for (let i = 0; i < nameTo; i++) scratch[i] = entry.bytes[entry.from + i] as number;
      }
      if (nameTo < 0) return false;
      const valueTo = this.#string(src, to, nameTo);
      if (valueTo < 0) return false;
      if (adds) this.#table.add(scratch, 0, nameTo, nameTo, valueTo);
      sink.field(scratch, 0, nameTo, scratch, nameTo, valueTo);
      fields++;
    }
    return true;
  }

  /** An integer whose prefix is `mask` (§5.1), or -1. */
  #integer(src: Uint8Array, to: number, mask: number): number {
    let value = (src[this.#at++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= to) return -1;
      const byte = src[this.#at++] as number;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value > MAX_INTEGER ? -1 : value;
    }
    return -1;
  }

  /** Puts a string (§5.2) into the scratch at `at`; its end there, or -1. */
  #string(src: Uint8Array, to: number, at: number): number {
    if (this.#at >= to) return -1;
    const huffman = (src[this.#at] as number) >= 0x80;
    const length = this.#integer(src, to, 0x7f);
    const start = this.#at;
    if (length < 0 || length > to - start) return -1;
    this.#at = start + length;
    if (huffman) return huffmanDecode(src, start, this.#at, scratch, at);
    for (let i = start; i < this.#at; i++) scratch[at++] = src[i] as number;
    return at;
  }
}

/** How a field is sent: kept in the table, not kept, or marked so that no hop ever keeps it. */
export const INDEX = 0;
export const NO_INDEX = 1;
export const NEVER_INDEX = 2;

/** The sending half of one connection's compression state. */
export class HpackEncoder {
  readonly #table: HpackTable;
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

  /** Most bytes that `begin` and then a field of so many bytes write. */
  static room(fieldBytes: number): number {
    return fieldBytes + 32;
  }

  /** Begins a block in `dst` at `at`; the new end. */
  begin(dst: Uint8Array, at: number): number {
    if (this.#last < 0) return at;
    if (this.#lowest < this.#last) at = integer(dst, at, 0x20, 0x1f, this.#lowest);
    at = integer(dst, at, 0x20, 0x1f, this.#last);
    this.#lowest = this.#last = -1;
    return at;
  }

  /** Writes one field, whose name is lower case; `dst` has `room`. Returns the new end. */
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
    const found = this.#table.find(buf, nameFrom, nameTo, from, to);
    if (found > 0 && how !== NEVER_INDEX) return integer(dst, at, 0x80, 0x7f, found);
    const named = found < 0 ? -found : found;
    if (how === INDEX) at = integer(dst, at, 0x40, 0x3f, named);
    else at = integer(dst, at, how === NEVER_INDEX ? 0x10 : 0, 0x0f, named);
    if (named === 0) at = string(buf, nameFrom, nameTo, dst, at);
    at = string(buf, from, to, dst, at);
    if (how === INDEX) this.#table.add(buf, nameFrom, nameTo, from, to);
    return at;
  }
}

function integer(dst: Uint8Array, at: number, bits: number, mask: number, value: number): number {
  if (value < mask) {
    dst[at++] = bits | value;
    return at;
  }
  dst[at++] = bits | mask;
  value -= mask;
  while (value >= 0x80) {
    dst[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  dst[at++] = value;
  return at;
}

function string(buf: Uint8Array, from: number, to: number, dst: Uint8Array, at: number): number {
  const short = huffmanLength(buf, from, to);
  if (short < to - from) {
    return huffmanEncode(buf, from, to, dst, integer(dst, at, 0x80, 0x7f, short));
  }
  at = integer(dst, at, 0, 0x7f, to - from);
  for (let i = from; i < to; i++) dst[at++] = buf[i] as number;
  return at;
}
