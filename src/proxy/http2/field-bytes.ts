// What bytes of fields may be (RFC 9113 §8.2.1, RFC 9110 §5), and the small loops that read-heads.ts is
// made of. Knows no message.

/** Bits of a byte in `CLASS`. */
export const LOWER_TOKEN = 1;
export const VALUE = 2;
export const TARGET = 4;
export const AUTHORITY = 8;
/** Methods are tokens whose letters have case. */
export const METHOD = 16;

export const CLASS = new Uint8Array(256);
function allow(bit: number, chars: string): void {
  for (const c of chars) CLASS[c.charCodeAt(0)] = (CLASS[c.charCodeAt(0)] as number) | bit;
}
const LOWER = "0123456789abcdefghijklmnopqrstuvwxyz";
const UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
allow(LOWER_TOKEN | METHOD, "!#$%&'*+-.^_`|~" + LOWER);
allow(METHOD, UPPER);
allow(AUTHORITY, "-._~:[]%" + LOWER + UPPER);
for (let c = 0; c < 256; c++) {
  if (c === 9 || (c >= 32 && c !== 127)) CLASS[c] = (CLASS[c] as number) | VALUE;
  if (c > 32 && c < 127) CLASS[c] = (CLASS[c] as number) | TARGET;
}

/** Whether a value may not begin or end with the byte (RFC 9113 §8.2.1). */
export function isSpace(byte: number | undefined): boolean {
  return byte === 32 || byte === 9;
}

/** Copies `buf[from..to)` to `dst` at `at`; the end. Shorter than what `set(subarray())` is good for. */
export function copy(
  buf: Uint8Array,
  from: number,
  to: number,
  dst: Uint8Array,
  at: number,
): number {
  while (from < to) dst[at++] = buf[from++] as number;
  return at;
}

/** As `copy`, for bytes that are all of a class; -1 when one is not. */
export function copyAll(
  bit: number,
  buf: Uint8Array,
  from: number,
  to: number,
  dst: Uint8Array,
  at: number,
): number {
  while (from < to) {
    const c = buf[from++] as number;
    if (((CLASS[c] as number) & bit) === 0) return -1;
    dst[at++] = c;
  }
  return at;
}

/** Whether two spans have the same bytes. */
export function same(
  a: Uint8Array,
  from: number,
  to: number,
  b: Uint8Array,
  other: number,
  otherTo: number,
): boolean {
  if (to - from !== otherTo - other) return false;
  while (from < to) if (a[from++] !== b[other++]) return false;
  return true;
}

/** Whether all bytes of `buf[from..to)` are of a class. */
export function allOf(buf: Uint8Array, from: number, to: number, bit: number): boolean {
  for (let i = from; i < to; i++) {
    if (((CLASS[buf[i] as number] as number) & bit) === 0) return false;
  }
  return true;
}

/** Whether `buf` has `text` at `at`. */
export function says(buf: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (buf[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Whether `buf[from..to)` is `text`. */
export function is(buf: Uint8Array, from: number, to: number, text: string): boolean {
  return to - from === text.length && says(buf, from, text);
}

/** The decimal number of at most 15 digits that `buf[from..to)` is, or -1. */
export function decimal(buf: Uint8Array, from: number, to: number): number {
  if (from === to || to - from > 15) return -1;
  let n = 0;
  for (let i = from; i < to; i++) {
    const digit = (buf[i] as number) - 48;
    if (digit < 0 || digit > 9) return -1;
    n = n * 10 + digit;
  }
  return n;
}

/** Writes a line's end; the end. */
export function crlf(buf: Uint8Array, at: number): number {
  buf[at] = 13;
  buf[at + 1] = 10;
  return at + 2;
}
