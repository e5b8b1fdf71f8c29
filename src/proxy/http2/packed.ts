// How a literal came, kept behind its bytes in a head, so that it can go out the same way (RFC 7541
// §6.2.2, §6.2.3): a byte of `FLAGS`, the name when it had no index, the value; strings of HPACK (§5.2).

import { copy } from "./field-bytes.ts";
import { NEVER_INDEX, wayOf } from "./field-rules.ts";
import type { Literal } from "./hpack-decoder.ts";
import type { HpackEncoder } from "./hpack-encoder.ts";

/** No hop may ever keep it. */
const NEVER = 1;
/** The name is there too. */
const NAMED = 2;

/** Writes how a literal came; the end. */
export function pack(literal: Literal, dst: Uint8Array, at: number): number {
  const never = literal.never || wayOf(literal.rule) === NEVER_INDEX;
  dst[at] = (never ? NEVER : 0) | (literal.packedName ? NAMED : 0);
  return copy(literal.packed, literal.packedFrom, literal.packedTo, dst, at + 1);
}

/** Bytes that `pack` writes. */
export function packedRoom(literal: Literal): number {
  return 1 + literal.packedTo - literal.packedFrom;
}

/** Writes the field whose value `pack` left at `packed`; the end. The name is lower case. */
export function writePacked(
  encoder: HpackEncoder,
  nameBuf: Uint8Array,
  nameFrom: number,
  nameTo: number,
  buf: Uint8Array,
  packed: number,
  dst: Uint8Array,
  at: number,
): number {
  const flags = buf[packed] as number;
  const never = (flags & NEVER) !== 0;
  return (flags & NAMED) !== 0
    ? encoder.packed(buf, packed + 1, never, dst, at)
    : encoder.packedValue(nameBuf, nameFrom, nameTo, buf, packed + 1, never, dst, at);
}
