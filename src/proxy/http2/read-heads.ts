// HPACK fields to heads (RFC 9113 §8): validates, and lays the message out as HTTP/1 text, which all
// layers and both encoders read alike. One reader serves every connection, since decoding never
// suspends: a head that is read is lent until the next block, `retain` it. The first line is
// pseudo-fields.ts, writing is write-heads.ts.

import {
  FIELD_CONTENT_LENGTH,
  FIELD_HOP,
  FIELD_HOST,
  FIELD_MESH,
  FIELD_PLAIN,
  type Head,
  MAX_FIELDS,
  type RequestHead,
  type ResponseHead,
} from "../../core/head.ts";
import { writeLatin1 } from "../../core/intern.ts";
import { CHUNKED, MALFORMED, TOO_LARGE } from "../http1/codes.ts";
import {
  addField,
  allOf,
  AUTHORITY,
  copy,
  copyAll,
  crlf,
  decimal,
  isSpace,
  LOWER_TOKEN,
  part,
  put,
  same,
  says,
  VALUE,
} from "./field-bytes.ts";
import type { FieldSink } from "./hpack.ts";
import { MAX_AUTHORITY, PseudoFields } from "./pseudo-fields.ts";

const MAX_BYTES = 64 * 1024;
const REQUEST = 0;
const RESPONSE = 1;
const TRAILERS = 2;

/** Reads one block at a time: `begin…`, the block's fields, `finish…`. */
export class HeadReader implements FieldSink {
  readonly #text = new Uint8Array(MAX_BYTES + 4096);
  readonly #pseudo = new PseudoFields(MAX_BYTES);
  readonly #cookie = part(MAX_BYTES);
  #head: Head | null = null;
  #kind = REQUEST;
  #max = 0;
  #at = 0;
  #weight = 0;
  #lined = false; // the first line is written: regular fields began
  #code = 0;
  #contentLength = -1;
  #hostFrom = -1;
  #hostTo = 0;
  #trailersWanted = false;
  #continueWanted = false;
  #protocol = "";

  /** The next block is a request's head. `maxBytes` bounds all fields together. */
  beginRequest(head: RequestHead, maxBytes: number): FieldSink {
    this.#trailersWanted = this.#continueWanted = false;
    return this.#begin(head, REQUEST, maxBytes);
  }

  /** The next block is a response's head; `protocol`: what extended CONNECT asked for, or empty. */
  beginResponse(head: ResponseHead, maxBytes: number, protocol = ""): FieldSink {
    this.#protocol = protocol;
    return this.#begin(head, RESPONSE, maxBytes);
  }

  /** The next block comes after a body. */
  beginTrailers(head: Head, maxBytes: number): FieldSink {
    return this.#begin(head, TRAILERS, maxBytes);
  }

  #begin(head: Head, kind: number, maxBytes: number): FieldSink {
    this.#head = head;
    this.#kind = kind;
    this.#max = Math.min(maxBytes, MAX_BYTES);
    this.#at = this.#weight = this.#code = 0;
    this.#lined = kind === TRAILERS;
    this.#pseudo.begin();
    this.#contentLength = this.#hostFrom = -1;
    this.#cookie.seen = false;
    this.#cookie.length = 0;
    head.count = 0;
    return this;
  }

  /** The length of the body that the block declared, or -1. */
  get contentLength(): number {
    return this.#contentLength;
  }

  field(
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    buf: Uint8Array,
    from: number,
    to: number,
  ): void {
    if (this.#code !== 0) return;
    this.#weight += nameTo - nameFrom + to - from + 4;
    if (this.#weight > this.#max) this.#code = TOO_LARGE;
    else if (nameBuf[nameFrom] !== 58) {
      if (!this.#lined) this.#line();
      if (this.#code === 0) this.#code = this.#regular(nameBuf, nameFrom, nameTo, buf, from, to);
    } else if (this.#lined) this.#code = MALFORMED; // after a regular field, or in trailers (§8.3)
    else {
      const pseudo = this.#pseudo;
      this.#code = this.#kind === REQUEST
        ? pseudo.ofRequest(nameBuf, nameFrom, nameTo, buf, from, to)
        : pseudo.ofResponse(nameBuf, nameFrom, nameTo, buf, from, to);
    }
  }

  /** Writes the first line, which the pseudo-headers say. */
  #line(): void {
    this.#lined = true;
    const at = this.#kind === REQUEST
      ? this.#pseudo.requestLine(this.#head as RequestHead, this.#text)
      : this.#pseudo.statusLine(this.#head as ResponseHead, this.#text, this.#protocol);
    if (at < 0) this.#code = at;
    else this.#at = at;
  }

  #regular(
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    buf: Uint8Array,
    from: number,
    to: number,
  ): number {
    const head = this.#head as Head;
    const text = this.#text;
    if (nameFrom === nameTo) return MALFORMED;
    const start = this.#at;
    const nameEnd = copyAll(LOWER_TOKEN, nameBuf, nameFrom, nameTo, text, start);
    if (nameEnd < 0) return MALFORMED; // upper case too (§8.2.1)
    text[nameEnd] = 58;
    text[nameEnd + 1] = 32;
    const valueFrom = nameEnd + 2;
    const at = copyAll(VALUE, buf, from, to, text, valueFrom);
    if (at < 0) return MALFORMED;
    if (at > valueFrom && (isSpace(text[valueFrom]) || isSpace(text[at - 1]))) return MALFORMED;
    const mark = this.#classify(start, nameEnd, valueFrom, at);
    if (mark < 0) return mark;
    if (mark === DROPPED) return 0;
    if (head.count === MAX_FIELDS) return TOO_LARGE;
    addField(head, start, nameEnd, valueFrom, at, mark);
    this.#at = crlf(text, at);
    return 0;
  }

  /** What a field means for framing and forwarding; negative: the message is refused. */
  #classify(from: number, to: number, valueFrom: number, valueTo: number): number {
    const text = this.#text;
    switch (to - from) {
      case 2:
        if (!says(text, from, "te")) break;
        if (valueTo - valueFrom !== 8 || !says(text, valueFrom, "trailers")) return MALFORMED;
        this.#trailersWanted = true;
        return FIELD_HOP;
      case 4:
        if (!says(text, from, "host") || this.#kind !== REQUEST) break;
        return this.#host(valueFrom, valueTo);
      case 6:
        if (says(text, from, "cookie") && this.#kind === REQUEST) {
          return this.#crumb(valueFrom, valueTo);
        }
        if (!says(text, from, "expect") || this.#kind !== REQUEST) break;
        if (valueTo - valueFrom !== 12 || !says(text, valueFrom, "100-continue")) return MALFORMED;
        this.#continueWanted = true;
        return FIELD_HOP;
      case 7:
        if (says(text, from, "upgrade")) return MALFORMED;
        if (says(text, from, "trailer")) return FIELD_HOP;
        break;
      case 10:
        if (says(text, from, "connection") || says(text, from, "keep-alive")) return MALFORMED;
        break;
      case 14:
        if (!says(text, from, "content-length")) break;
        return this.#length(valueFrom, valueTo);
      case 16:
      case 17:
        if (says(text, from, to - from === 16 ? "proxy-connection" : "transfer-encoding")) {
          return MALFORMED;
        }
        break;
      case 19:
        if (says(text, from, "proxy-authorization")) return FIELD_HOP;
        break;
    }
    return to - from > 4 && says(text, from, "l5d-") ? FIELD_MESH : FIELD_PLAIN;
  }

  /** Host beside :authority must name the same (§8.3.1), and is then left out. */
  #host(from: number, to: number): number {
    const { seen, length, buf } = this.#pseudo.authority;
    if (seen) return same(this.#text, from, to, buf, 0, length) ? DROPPED : MALFORMED;
    if (this.#hostFrom >= 0 || to === from || to - from > MAX_AUTHORITY) return MALFORMED;
    if (!allOf(this.#text, from, to, AUTHORITY)) return MALFORMED;
    this.#hostFrom = from;
    this.#hostTo = to;
    return FIELD_HOST;
  }

  /** Crumbs become one cookie again, since HTTP/1 and filters know one (§8.2.3). */
  #crumb(from: number, to: number): number {
    const cookie = this.#cookie;
    if (cookie.seen) {
      cookie.buf[cookie.length++] = 59;
      cookie.buf[cookie.length++] = 32;
    }
    cookie.seen = true;
    cookie.length = copy(this.#text, from, to, cookie.buf, cookie.length);
    return DROPPED;
  }

  #length(from: number, to: number): number {
    if (this.#kind === TRAILERS) return FIELD_HOP;
    if (this.#contentLength >= 0) return MALFORMED;
    this.#contentLength = decimal(this.#text, from, to);
    if (this.#contentLength < 0) return MALFORMED;
    return FIELD_CONTENT_LENGTH;
  }

  /** Ends a request's head: 0, or `MALFORMED` or `TOO_LARGE`. `end`: no body follows. */
  finishRequest(end: boolean): number {
    if (this.#code === 0 && !this.#lined) this.#line();
    if (this.#code !== 0) return this.#code;
    const head = this.#head as RequestHead;
    if (this.#cookie.seen) this.#code = this.#joined(head);
    if (this.#hostFrom >= 0) {
      head.authorityFrom = this.#hostFrom;
      head.authorityTo = this.#hostTo;
    }
    // http and https have an authority (RFC 9110 §4.2); an empty one is nobody
    if (this.#code !== 0 || head.authorityTo === 0) return this.#code || MALFORMED;
    const length = this.#contentLength;
    if (end && length > 0) return MALFORMED;
    const isTunnel = head.isConnect || head.upgrade;
    if (isTunnel && length >= 0) return MALFORMED;
    head.bodyLength = end || isTunnel ? 0 : length >= 0 ? length : CHUNKED;
    head.expectsContinue = this.#continueWanted && !end && !isTunnel;
    head.wantsTrailers = this.#trailersWanted;
    this.#lend(head);
    return 0;
  }

  #joined(head: Head): number {
    if (head.count === MAX_FIELDS) return TOO_LARGE;
    const from = this.#at;
    let at = writeLatin1("cookie: ", this.#text, from);
    at = put(this.#cookie, this.#text, at);
    addField(head, from, from + 6, from + 8, at, FIELD_PLAIN);
    this.#at = crlf(this.#text, at);
    return 0;
  }

  /** Ends a response's head. `toHead`, `toConnect`: what was asked, which decides on a body. */
  finishResponse(end: boolean, toHead: boolean, toConnect: boolean): number {
    if (this.#code === 0 && !this.#lined) this.#line();
    if (this.#code !== 0) return this.#code;
    const head = this.#head as ResponseHead;
    const { status } = head;
    const none = toHead || status < 200 || status === 204 || status === 304;
    const length = this.#contentLength;
    if (toConnect && status >= 200 && status < 300) head.tunnel = true;
    // an interim response ends nothing (§8.1)
    if (status < 200 && end && !head.tunnel) return MALFORMED;
    if (end && length > 0 && !none) return MALFORMED;
    // A body of length 0 whose stream goes on may have trailers.
    head.bodyLength = end || none || head.tunnel ? 0 : length > 0 ? length : CHUNKED;
    this.#lend(head);
    return 0;
  }

  /** Ends a block after the body. */
  finishTrailers(): number {
    if (this.#code !== 0) return this.#code;
    this.#lend(this.#head as Head);
    return 0;
  }

  #lend(head: Head): void {
    head.minor = 1;
    head.close = false;
    head.lend(this.#text, 0, crlf(this.#text, this.#at));
    this.#head = null;
  }
}

/** The one reader. */
export const headReader: HeadReader = new HeadReader();

/** What `#classify` says of a field that is not kept where it stands. */
const DROPPED = 100;
