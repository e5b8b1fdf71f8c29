// Integers and strings of HPACK (RFC 7541 §5), written.

import { copy } from "./field-bytes.ts";
import { huffmanEncode, huffmanLength } from "./huffman.ts";

/** Most bytes that a string of so many takes: its length before it, and nothing won by Huffman. */
export function stringRoom(bytes: number): number {
  return bytes + 6;
}

/** Writes an integer behind the bits of a first byte (§5.1); the end. */
export function integer(
  dst: Uint8Array,
  at: number,
  bits: number,
  mask: number,
  value: number,
): number {
  if (value < mask) {
    dst[at] = bits | value;
    return at + 1;
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

/** Writes a string (§5.2), in the Huffman code when that is shorter; the end. */
export function huffmanString(
  buf: Uint8Array,
  from: number,
  to: number,
  dst: Uint8Array,
  at: number,
): number {
  const short = huffmanLength(buf, from, to);
  if (short < to - from) {
    return huffmanEncode(buf, from, to, dst, integer(dst, at, 0x80, 0x7f, short));
  }
  return copy(buf, from, to, dst, integer(dst, at, 0, 0x7f, to - from));
}

/** Where the string that begins at `at` ends. It was read before. */
export function stringEnd(buf: Uint8Array, at: number): number {
  let length = (buf[at++] as number) & 0x7f;
  if (length < 0x7f) return at + length;
  for (let shift = 0;; shift += 7) {
    const byte = buf[at++] as number;
    length += (byte & 0x7f) << shift;
    if (byte < 0x80) return at + length;
  }
}
