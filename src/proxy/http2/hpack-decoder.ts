// HPACK (RFC 7541): header blocks to fields. Below the HTTP/2 codec, which joins CONTINUATION frames
// first; above hpack-table.ts and huffman.ts. What came by an index is passed on as the table's object,
// unread; a literal is read once, since a malformed one ends the connection. No input makes it throw.

import { copy } from "./field-bytes.ts";
import { INDEX, type Rule, ruleOf, wayOf } from "./field-rules.ts";
import { type HpackField, hpackField, STATIC_FIELDS } from "./hpack-field.ts";
import { STATIC_COUNT } from "./hpack-static.ts";
import { HpackTable } from "./hpack-table.ts";
import { huffmanDecode } from "./huffman.ts";

/** The longest header block that is decoded; a longer one is refused before its first byte. */
export const MAX_BLOCK_BYTES = 64 * 1024;

/** What both sides begin with (RFC 9113 §6.5.2). */
export const DEFAULT_TABLE_BYTES = 4096;

/**
 * Gets the fields of one block, in order. A block of indexes may name a large entry thousands of times:
 * the sink bounds what it keeps.
 */
export interface FieldSink {
  /** A field of a table. */
  known(field: HpackField): void;
  /** One that is kept in none. Lent for the call. */
  literal(literal: Literal): void;
}

/** A field that is kept in no table: its bytes, and how they came. */
export interface Literal {
  nameBuf: Uint8Array;
  nameTo: number; // the name begins at 0
  rule: Rule;
  buf: Uint8Array;
  from: number;
  to: number;
  /** The value as it came, a string of HPACK (§5.2); before it the name, when it has no index. */
  packed: Uint8Array;
  packedName: boolean;
  packedFrom: number;
  packedTo: number;
  /** No hop may ever keep it (§6.2.3). */
  never: boolean;
}

/** Larger integers have no honest meaning here: nothing is that long. */
const MAX_INTEGER = 1 << 24;

// Decoding never suspends, so one scratch serves every connection. Huffman makes at most 8/5 of what
// came in.
const scratch = new Uint8Array(MAX_BLOCK_BYTES * 2);
const literal: Literal = {
  nameBuf: scratch,
  nameTo: 0,
  rule: 0,
  buf: scratch,
  from: 0,
  to: 0,
  packed: scratch,
  packedName: false,
  packedFrom: 0,
  packedTo: 0,
  never: false,
};

/** The receiving half of one connection's compression state. */
export class HpackDecoder {
  readonly #table: HpackTable;
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
    let fields = 0;
    this.#at = from;
    while (this.#at < to) {
      const first = src[this.#at] as number;
      if (first >= 0x80) {
        const field = this.#entry(this.#integer(src, to, 0x7f));
        if (field === null) return false;
        sink.known(field);
        fields++;
      } else if ((first & 0xe0) === 0x20) {
        const max = this.#integer(src, to, 0x1f);
        // only before the first field (§4.2), and never over what was promised (§6.3)
        if (max < 0 || fields > 0 || max > this.#table.capacity) return false;
        this.#table.resize(max);
      } else {
        if (!this.#literal(src, to, first, sink)) return false;
        fields++;
      }
    }
    return true;
  }

  /** The entry of both tables with that index, or null. */
  #entry(index: number): HpackField | null {
    if (index > STATIC_COUNT) return this.#table.at(index - STATIC_COUNT - 1);
    return index < 1 ? null : STATIC_FIELDS[index - 1] as HpackField;
  }

  #literal(src: Uint8Array, to: number, first: number, sink: FieldSink): boolean {
    const isKept = first >= 0x40;
    const index = this.#integer(src, to, isKept ? 0x3f : 0x0f);
    if (index < 0) return false;
    let at = 0;
    literal.packedName = index === 0;
    literal.packedFrom = this.#at;
    if (index > 0) {
      const field = this.#entry(index);
      if (field === null) return false;
      literal.nameBuf = field.line;
      literal.nameTo = field.nameTo;
      literal.rule = field.rule;
    } else {
      at = this.#string(src, to, 0);
      if (at < 0) return false;
      literal.nameBuf = scratch;
      literal.nameTo = at;
      literal.rule = ruleOf(scratch, 0, at);
    }
    const end = this.#string(src, to, at);
    if (end < 0) return false;
    if (isKept) {
      const field = hpackField(literal.nameBuf, 0, literal.nameTo, scratch, at, end);
      this.#table.add(field);
      // What hardly ever comes twice is passed on as it came; should it come by its index, it does.
      if (wayOf(field.rule) === INDEX) {
        sink.known(field);
        return true;
      }
    }
    literal.from = at;
    literal.to = end;
    literal.packed = src;
    literal.packedTo = this.#at;
    literal.never = !isKept && first >= 0x10;
    sink.literal(literal);
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
    return copy(src, start, this.#at, scratch, at);
  }
}
