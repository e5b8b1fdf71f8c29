// HTTP/1 heads, parsed in place (RFC 9112). One pass, byte by byte, offsets only; `framing.ts` says what
// the fields mean. What is malformed is refused, never forwarded in two readings.

import { type Head, MAX_FIELDS, type RequestHead, type ResponseHead } from "../../core/head.ts";
import { INCOMPLETE, MALFORMED, TOO_LARGE, WRONG_VERSION } from "./codes.ts";
import { finishRequest, finishResponse } from "./framing.ts";
import { beginFields, classify } from "./known-fields.ts";

const CR = 13;
const LF = 10;
const SP = 32;
const HTAB = 9;
const COLON = 58;

/** Bits of a byte: 1 token (RFC 9110 §5.6.2), 2 field value, 4 request target. */
const CLASS = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  CLASS[c.charCodeAt(0)] = 1;
}
for (let c = 0; c < 256; c++) {
  if (c === HTAB || (c >= SP && c !== 127)) CLASS[c] = (CLASS[c] as number) | 2;
  if (c > SP && c < 127) CLASS[c] = (CLASS[c] as number) | 4;
}

/** `buf` of the last head, for words of it: connections share theirs. */
let words: DataView = new DataView(new ArrayBuffer(0));
let wordsOf: Uint8Array | null = null;

function wordsIn(buf: Uint8Array): DataView {
  if (wordsOf !== buf) {
    words = new DataView(buf.buffer, buf.byteOffset, buf.length);
    wordsOf = buf;
  }
  return words;
}

/**
 * Where a field value ends: at the first byte from `p` on that may not be in one. Looks at four bytes at
 * once for one under 0x20 or DEL, and leaves what is there to the table, which knows HTAB.
 */
function valueEnd(buf: Uint8Array, view: DataView, p: number, limit: number): number {
  while (p + 4 <= limit) {
    const word = view.getInt32(p, true);
    // The high bit of a byte: it was 0, and is 1 after taking 0x20 or adding 1. A carry may say so, too.
    if ((((word - 0x20202020) | (word + 0x01010101)) & ~word & 0x80808080) !== 0) break;
    p += 4;
  }
  while (p < limit && ((CLASS[buf[p] as number] as number) & 2) !== 0) p++;
  return p;
}

/**
 * Parses a request head at `buf[from..to)` into `head`, which then lends those bytes.
 * Returns its length, `INCOMPLETE`, or a negative code. `maxBytes` bounds line and fields together.
 */
export function parseRequest(
  head: RequestHead,
  buf: Uint8Array,
  from: number,
  to: number,
  maxBytes: number,
): number {
  const limit = Math.min(to, from + maxBytes);
  let p = from;
  while (p < limit && ((CLASS[buf[p] as number] as number) & 1) !== 0) p++;
  if (p === limit) return short(limit, to);
  if (p === from || buf[p] !== SP) return MALFORMED;
  head.methodTo = p - from;
  p++;
  head.targetFrom = p - from;
  while (p < limit && ((CLASS[buf[p] as number] as number) & 4) !== 0) p++;
  if (p === limit) return short(limit, to);
  head.targetTo = p - from;
  if (head.targetTo === head.targetFrom || buf[p] !== SP) return MALFORMED;
  p++;
  // "HTTP/1.x" CR LF
  if (p + 10 > limit) return short(limit, to);
  if (
    buf[p] !== 72 || buf[p + 1] !== 84 || buf[p + 2] !== 84 || buf[p + 3] !== 80 ||
    buf[p + 4] !== 47 || buf[p + 6] !== 46 || buf[p + 8] !== CR || buf[p + 9] !== LF
  ) return MALFORMED;
  if (buf[p + 5] !== 49) return WRONG_VERSION;
  const minor = (buf[p + 7] as number) - 48;
  if (minor < 0 || minor > 9) return MALFORMED;
  head.minor = minor > 1 ? 1 : minor;
  const length = parseFields(head, buf, from, p + 10, limit, to);
  if (length <= 0) return length;
  head.lend(buf, from, length);
  return finishRequest(head) ?? length;
}

/**
 * Parses a response head. `toHead` and `toConnect` say what was asked, since that decides whether a
 * body follows (RFC 9112 §6.3).
 */
export function parseResponse(
  head: ResponseHead,
  buf: Uint8Array,
  from: number,
  to: number,
  maxBytes: number,
  toHead: boolean,
  toConnect: boolean,
): number {
  const limit = Math.min(to, from + maxBytes);
  if (from + 12 > limit) return short(limit, to);
  const p = from;
  if (
    buf[p] !== 72 || buf[p + 1] !== 84 || buf[p + 2] !== 84 || buf[p + 3] !== 80 ||
    buf[p + 4] !== 47 || buf[p + 5] !== 49 || buf[p + 6] !== 46 || buf[p + 8] !== SP
  ) return MALFORMED;
  const minor = (buf[p + 7] as number) - 48;
  const a = (buf[p + 9] as number) - 48;
  const b = (buf[p + 10] as number) - 48;
  const c = (buf[p + 11] as number) - 48;
  if (minor < 0 || minor > 9 || a < 1 || a > 9 || b < 0 || b > 9 || c < 0 || c > 9) {
    return MALFORMED;
  }
  head.minor = minor > 1 ? 1 : minor;
  head.status = a * 100 + b * 10 + c;
  let q = p + 12;
  if (q < limit && buf[q] === SP) q++;
  else if (q < limit && buf[q] !== CR) return MALFORMED;
  head.reasonFrom = q - from;
  while (q < limit && ((CLASS[buf[q] as number] as number) & 2) !== 0) q++;
  if (q + 2 > limit) return short(limit, to);
  if (buf[q] !== CR || buf[q + 1] !== LF) return MALFORMED;
  head.reasonTo = q - from;
  const length = parseFields(head, buf, from, q + 2, limit, to);
  if (length <= 0) return length;
  head.lend(buf, from, length);
  return finishResponse(head, toHead, toConnect) ?? length;
}

/**
 * Whether a head that was incomplete at `scanned` bytes is worth another pass: its end arrived, or a
 * bare LF, which is refused at once. Keeps a head that comes byte by byte from being parsed each time.
 */
export function worthParsing(buf: Uint8Array, from: number, to: number, scanned: number): boolean {
  for (let p = Math.max(from + 1, from + scanned); p < to; p++) {
    if (buf[p] !== LF) continue;
    if (buf[p - 1] !== CR || (p - from >= 3 && buf[p - 2] === LF)) return true;
  }
  return false;
}

function short(limit: number, to: number): number {
  return limit < to ? TOO_LARGE : INCOMPLETE;
}

/** Reads fields up to the empty line. Returns the head's length, `INCOMPLETE` or an error. */
function parseFields(
  head: Head,
  buf: Uint8Array,
  from: number,
  start: number,
  limit: number,
  to: number,
): number {
  const { spans, marks } = head;
  const view = wordsIn(buf);
  beginFields();
  let p = start;
  let count = 0;
  for (;;) {
    if (p + 2 > limit) return short(limit, to);
    if (buf[p] === CR) {
      if (buf[p + 1] !== LF) return MALFORMED;
      head.count = count;
      return p + 2 - from;
    }
    if (count === MAX_FIELDS) return TOO_LARGE;
    const nameFrom = p;
    while (p < limit && ((CLASS[buf[p] as number] as number) & 1) !== 0) p++;
    if (p === limit) return short(limit, to);
    // A space before the colon and a folded line both end here (RFC 9112 §5.1, §5.2).
    if (p === nameFrom || buf[p] !== COLON) return MALFORMED;
    const nameTo = p;
    p++;
    while (p < limit && (buf[p] === SP || buf[p] === HTAB)) p++;
    const valueFrom = p;
    p = valueEnd(buf, view, p, limit);
    if (p + 2 > limit) return short(limit, to);
    if (buf[p] !== CR || buf[p + 1] !== LF) return MALFORMED;
    let valueTo = p;
    while (valueTo > valueFrom && (buf[valueTo - 1] === SP || buf[valueTo - 1] === HTAB)) valueTo--;
    p += 2;
    const k = count * 4;
    spans[k] = nameFrom - from;
    spans[k + 1] = nameTo - from;
    spans[k + 2] = valueFrom - from;
    spans[k + 3] = valueTo - from;
    const mark = classify(buf, nameFrom, nameTo, valueFrom, valueTo, from);
    if (mark < 0) return mark;
    marks[count] = mark;
    count++;
  }
}
