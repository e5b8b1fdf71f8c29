// What the fields of a head mean for its connection and body (RFC 9112 §6, RFC 9110 §7.6.1): gathered
// in `known-fields.ts` while they are read, decided when the head is whole. Ambiguous messages are refused here.

import {
  FIELD_HOP,
  type Head,
  headerName,
  type RequestHead,
  type ResponseHead,
} from "../../core/head.ts";
import { CHUNKED, MALFORMED, UNTIL_CLOSE } from "./codes.ts";
import { is, seen } from "./known-fields.ts";

const CONNECTION = headerName("connection");
const UPGRADE = headerName("upgrade");

/** Target form, authority and framing of a request. Null when all is well. */
export function finishRequest(head: RequestHead): number | null {
  const { buf, base } = head;
  head.isConnect = head.methodTo === 7 && is(buf, base, "connect");
  head.isHead = head.methodTo === 4 && is(buf, base, "head");
  head.wantsTrailers = seen.trailers && head.minor === 1;
  head.expectsContinue = seen.expectContinue && head.minor === 1;
  if (seen.expectOther) return MALFORMED;
  if (seen.hosts > 1 || (seen.hosts === 0 && head.minor === 1)) return MALFORMED;
  head.pathFrom = head.targetFrom;
  head.authorityFrom = seen.hosts === 1 ? seen.hostFrom : 0;
  head.authorityTo = seen.hosts === 1 ? seen.hostTo : 0;
  const first = buf[base + head.targetFrom] as number;
  if (head.isConnect) {
    head.authorityFrom = head.targetFrom;
    head.authorityTo = head.targetTo;
  } else if (first === 42) {
    // "*": only by itself, for OPTIONS
    if (head.targetTo - head.targetFrom !== 1) return MALFORMED;
  } else if (first !== 47) {
    // absolute-form: scheme "://" authority path (RFC 9112 §3.2.2); its authority wins over Host
    let p = base + head.targetFrom;
    const end = base + head.targetTo;
    while (p < end && buf[p] !== 58) p++;
    if (p + 3 > end || buf[p + 1] !== 47 || buf[p + 2] !== 47 || !isHttpScheme(head, p)) {
      return MALFORMED;
    }
    p += 3;
    head.authorityFrom = p - base;
    while (p < end && buf[p] !== 47 && buf[p] !== 63) p++;
    head.authorityTo = p - base;
    if (head.authorityTo === head.authorityFrom) return MALFORMED;
    head.pathFrom = p - base;
  }
  if (!validAuthority(head)) return MALFORMED;
  if (seen.transferEncoding > 0) {
    // Content-Length beside it, or from a version that has no chunks, is how requests are smuggled.
    if (seen.contentLength >= 0 || head.minor === 0) return MALFORMED;
    head.bodyLength = CHUNKED;
  } else {
    head.bodyLength = Math.max(0, seen.contentLength);
  }
  // HTTP/1.0 has no CONNECT.
  if (head.isConnect && (head.bodyLength !== 0 || head.minor === 0)) return MALFORMED;
  finishConnection(head);
  head.upgrade = seen.upgrade && upgradeAsked && head.minor === 1 && !asksHttp2(head);
  return null;
}

/** HTTP/2 within HTTP/1 would pass requests by all that decides on them: the wish is not passed on. */
export function asksHttp2(head: Head): boolean {
  return upgradeField(head).toLowerCase().split(",").some((token) => /^\s*h2c?\s*$/.test(token));
}

function isHttpScheme(head: RequestHead, colon: number): boolean {
  const from = head.base + head.targetFrom;
  const length = colon - from;
  return (length === 4 && is(head.buf, from, "http")) ||
    (length === 5 && is(head.buf, from, "https"));
}

/** host[:port] characters only: no userinfo, no path, no spaces. */
function validAuthority(head: RequestHead): boolean {
  const { buf, base } = head;
  for (let i = head.authorityFrom; i < head.authorityTo; i++) {
    const c = buf[base + i] as number;
    const alnum = (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122);
    // - . _ ~ : [ ] and percent-encoding
    if (
      !alnum && c !== 45 && c !== 46 && c !== 95 && c !== 126 && c !== 58 && c !== 91 && c !== 93 &&
      c !== 37
    ) {
      return false;
    }
  }
  return head.authorityTo - head.authorityFrom <= 260;
}

export function finishResponse(
  head: ResponseHead,
  toHead: boolean,
  toConnect: boolean,
): number | null {
  const { status } = head;
  head.tunnel = status === 101 || (toConnect && status >= 200 && status < 300);
  if (seen.transferEncoding > 0) {
    if (seen.contentLength >= 0 || head.minor === 0) return MALFORMED;
    head.bodyLength = CHUNKED;
  } else {
    head.bodyLength = seen.contentLength >= 0 ? seen.contentLength : UNTIL_CLOSE;
  }
  // What a HEAD answer declares is not sent; `declared` stays in its fields.
  if (toHead || status < 200 || status === 204 || status === 304 || head.tunnel) {
    head.bodyLength = 0;
  }
  finishConnection(head);
  if (head.bodyLength === UNTIL_CLOSE) head.close = true;
  return null;
}

let upgradeAsked = false;

/** Keep-alive or close, and the fields that Connection names, which belong to this hop alone. */
function finishConnection(head: Head): void {
  let close = head.minor === 0;
  upgradeAsked = false;
  if (seen.connection) {
    const { buf } = head;
    for (let i = head.find(CONNECTION); i >= 0; i = head.find(CONNECTION, i + 1)) {
      const from = head.valueFrom(i);
      const length = head.valueTo(i) - from;
      // Mostly it is one of these, and needs no string.
      if (length === 10 && is(buf, from, "keep-alive")) {
        if (head.minor === 0) close = false;
        continue;
      }
      if (length === 5 && is(buf, from, "close")) {
        close = true;
        continue;
      }
      close = readTokens(head, i, close);
    }
  }
  head.close = close;
}

/** A list of tokens in Connection; returns whether the connection is to be closed. */
function readTokens(head: Head, i: number, close: boolean): boolean {
  for (const token of head.valueAt(i).toLowerCase().split(",")) {
    const word = token.trim();
    if (word === "close") close = true;
    else if (word === "keep-alive") close = head.minor === 0 ? false : close;
    else if (word === "upgrade") upgradeAsked = true;
    else if (word !== "" && /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(word)) markHop(head, word);
  }
  return close;
}

function markHop(head: Head, word: string): void {
  // Framing and routing are not the connection's to name.
  if (word === "host" || word === "content-length") return;
  // Not interned, since the peer chose it.
  const name = { text: word, bytes: Uint8Array.from(word, (c) => c.charCodeAt(0)), codec: true };
  for (let i = head.find(name); i >= 0; i = head.find(name, i + 1)) head.marks[i] = FIELD_HOP;
}

/** The value of `Upgrade`, for the encoder of an upgrade request. */
export function upgradeField(head: Head): string {
  const i = head.find(UPGRADE);
  return i < 0 ? "" : head.valueAt(i);
}
