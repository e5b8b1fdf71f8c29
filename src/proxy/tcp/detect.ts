// What a connection speaks, told from its first bytes. Pure: no channel, no time. `detecting.ts` waits
// for the bytes and hands the connection on.

import { PREFACE } from "../http2/frames.ts";

/** What the first bytes are; `null`: more are needed. */
export type Protocol = "http1" | "http2" | "tls" | "opaque";

/** More bytes than this are not waited for: a client that has sent so much has said what it speaks. */
export const MAX_DETECT_BYTES = 1024;
/** HTTP/2 is told by its preface's first line. */
const PREFACE_LINE = 16;
/** The longest method that is taken for one. */
const MAX_METHOD = 32;

/** Token characters (RFC 9110 §5.6.2). */
const TOKEN = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  TOKEN[c.charCodeAt(0)] = 1;
}
const VERSION = Uint8Array.from(" HTTP/1.", (c) => c.charCodeAt(0));

/**
 * What `buf[from..to)`, a connection's beginning, is. Bytes that can be nothing else than opaque are
 * told at once, and so is each protocol as soon as it is certain. Never null from `MAX_DETECT_BYTES` on.
 */
export function detectProtocol(buf: Uint8Array, from: number, to: number): Protocol | null {
  if (from === to) return null;
  const first = buf[from] as number;
  if (first === 0x16) return tls(buf, from, to);
  if (first === 0x50) { // "P": the preface, or POST, PUT, PATCH, …
    let n = 0;
    while (n < PREFACE_LINE && from + n < to && buf[from + n] === PREFACE[n]) n++;
    if (n === PREFACE_LINE) return "http2";
    if (from + n === to) return null;
  }
  return http1(buf, from, to);
}

/** A TLS record with a handshake in it: 22, then version 3.x. */
function tls(buf: Uint8Array, from: number, to: number): Protocol | null {
  if (to - from >= 2 && buf[from + 1] !== 3) return "opaque";
  if (to - from >= 3 && (buf[from + 2] as number) > 4) return "opaque";
  if (to - from < 6) return null;
  return buf[from + 5] === 1 ? "tls" : "opaque"; // a ClientHello
}

/** A request line: token, space, target, space, `HTTP/1.`. */
function http1(buf: Uint8Array, from: number, to: number): Protocol | null {
  let p = from;
  // An empty line before a request is allowed (RFC 9112 §2.2).
  while (p < to && p - from < 2 && (buf[p] === 13 || buf[p] === 10)) p++;
  const start = p;
  while (p < to && TOKEN[buf[p] as number] === 1) {
    if (++p - start > MAX_METHOD) return "opaque";
  }
  if (p === to) return null;
  if (p === start || buf[p] !== 32) return "opaque";
  const target = ++p;
  while (p < to && (buf[p] as number) > 32 && (buf[p] as number) < 127) p++;
  if (p === to) return to - from >= MAX_DETECT_BYTES ? "http1" : null;
  if (p === target) return "opaque";
  for (let i = 0; i < VERSION.length; i++, p++) {
    if (p === to) return to - from >= MAX_DETECT_BYTES ? "http1" : null;
    if (buf[p] !== VERSION[i]) return "opaque";
  }
  return "http1";
}
