// Which fields of a head mean something for its connection and body, told by their names while `parse.ts`
// reads them, and what they say. `framing.ts` decides when the head is whole.

import {
  FIELD_CONTENT_LENGTH,
  FIELD_HOP,
  FIELD_HOST,
  FIELD_MESH,
  FIELD_PLAIN,
} from "../../core/head.ts";
import { MALFORMED, UNKNOWN_CODING } from "./codes.ts";

/** What the fields of the head that is read say of framing; offsets from its start. */
export const seen = {
  contentLength: -1,
  hosts: 0,
  hostFrom: 0,
  hostTo: 0,
  connection: false,
  transferEncoding: 0,
  upgrade: false,
  expectContinue: false,
  expectOther: false,
  trailers: false,
};

/** Forgets the last head's fields. */
export function beginFields(): void {
  seen.contentLength = -1;
  seen.hosts = 0;
  seen.connection =
    seen.upgrade =
    seen.expectContinue =
    seen.expectOther =
    seen.trailers =
      false;
  seen.transferEncoding = 0;
}

/** A field that means something here. */
const TE = 0;
const HOST = 1;
const EXPECT = 2;
const UPGRADES = 3;
const CONNECTIONS = 4;
const CONTENT_LENGTH = 5;
const TRANSFER_ENCODING = 6;
/** It belongs to this hop, and says nothing else. */
const HOP = 7;

interface KnownField {
  readonly bytes: Uint8Array;
  readonly what: number;
  /** Another one of the same length. */
  readonly next: KnownField | null;
}

/** By length: most names are known by that, or by their first letter, to be none. */
const KNOWN: (KnownField | null)[] = new Array(20).fill(null);
for (
  const [text, what] of [
    ["te", TE],
    ["host", HOST],
    ["expect", EXPECT],
    ["upgrade", UPGRADES],
    ["trailer", HOP],
    ["keep-alive", HOP],
    ["connection", CONNECTIONS],
    ["content-length", CONTENT_LENGTH],
    ["proxy-connection", HOP],
    ["transfer-encoding", TRANSFER_ENCODING],
    ["proxy-authorization", HOP],
  ] as const
) {
  const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
  KNOWN[text.length] = { bytes, what, next: KNOWN[text.length] ?? null };
}

/** What a field means for framing and forwarding; negative: the message is refused. */
export function classify(
  buf: Uint8Array,
  from: number,
  to: number,
  valueFrom: number,
  valueTo: number,
  base: number,
): number {
  const length = to - from;
  const first = (buf[from] as number) | 0x20;
  let known = length < 20 ? KNOWN[length] as KnownField | null : null;
  for (; known !== null; known = known.next) {
    const { bytes } = known;
    if (bytes[0] !== first) continue;
    let i = 1;
    while (i < length && lower(buf[from + i] as number) === bytes[i]) i++;
    if (i === length) return noted(known.what, buf, valueFrom, valueTo, base);
  }
  // l5d-…
  return first === 108 && length > 4 && buf[from + 1] === 53 &&
      ((buf[from + 2] as number) | 0x20) === 100 && buf[from + 3] === 45
    ? FIELD_MESH
    : FIELD_PLAIN;
}

function lower(c: number): number {
  return c >= 0x41 && c <= 0x5a ? c | 0x20 : c;
}

function noted(
  what: number,
  buf: Uint8Array,
  valueFrom: number,
  valueTo: number,
  base: number,
): number {
  switch (what) {
    case TE:
      if (valueTo - valueFrom === 8 && is(buf, valueFrom, "trailers")) seen.trailers = true;
      return FIELD_HOP;
    case HOST:
      seen.hosts++;
      seen.hostFrom = valueFrom - base;
      seen.hostTo = valueTo - base;
      return FIELD_HOST;
    case EXPECT:
      if (valueTo - valueFrom === 12 && is(buf, valueFrom, "100-continue")) {
        seen.expectContinue = true;
      } else seen.expectOther = true;
      return FIELD_HOP;
    case UPGRADES:
      seen.upgrade = true;
      return FIELD_HOP;
    case CONNECTIONS:
      seen.connection = true;
      return FIELD_HOP;
    case CONTENT_LENGTH: {
      // A second one, even of the same value, is a sign of an attack (RFC 9112 §6.3).
      if (seen.contentLength >= 0 || valueFrom === valueTo || valueTo - valueFrom > 15) {
        return MALFORMED;
      }
      let n = 0;
      for (let i = valueFrom; i < valueTo; i++) {
        const digit = (buf[i] as number) - 48;
        if (digit < 0 || digit > 9) return MALFORMED;
        n = n * 10 + digit;
      }
      seen.contentLength = n;
      return FIELD_CONTENT_LENGTH;
    }
    case TRANSFER_ENCODING:
      if (valueTo - valueFrom !== 7 || !is(buf, valueFrom, "chunked")) return UNKNOWN_CODING;
      if (++seen.transferEncoding > 1) return MALFORMED;
      return FIELD_HOP;
    default:
      return FIELD_HOP;
  }
}

/** Compares with a lower-case word, ignoring the case of letters. */
export function is(buf: Uint8Array, at: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) {
    let c = buf[at + i] as number;
    if (c >= 0x41 && c <= 0x5a) c |= 0x20;
    if (c !== word.charCodeAt(i)) return false;
  }
  return true;
}
