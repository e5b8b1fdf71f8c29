// HPACK fields to heads (RFC 9113 §8): validates, and lays the message out as HTTP/1 text, which all
// layers and both encoders read alike. One reader serves every connection, since decoding never
// suspends: a head that is read is lent until the next block, `retain` it. Writing is write-heads.ts.

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
import { reasonOf } from "../http/respond.ts";
import { CHUNKED, MALFORMED, TOO_LARGE } from "../http1/codes.ts";
import {
  addField,
  all,
  allOf,
  AUTHORITY,
  CLASS,
  crlf,
  decimal,
  equals,
  is,
  isSpace,
  LOWER_TOKEN,
  METHOD,
  part,
  put,
  says,
  take,
  TARGET,
  VALUE,
} from "./field-bytes.ts";
import type { FieldSink } from "./hpack.ts";

const MAX_AUTHORITY = 260;
const MAX_METHOD = 64;

const MAX_BYTES = 64 * 1024;
const REQUEST = 0;
const RESPONSE = 1;
const TRAILERS = 2;

/** Reads one block at a time: `begin…`, the block's fields, `finish…`. */
export class HeadReader implements FieldSink {
  readonly #text = new Uint8Array(MAX_BYTES + 4096);
  readonly #method = part(MAX_METHOD);
  readonly #scheme = part(16);
  readonly #authority = part(MAX_AUTHORITY);
  readonly #path = part(MAX_BYTES);
  readonly #status = part(3);
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

  /** The next block is a request's head. `maxBytes` bounds all fields together. */
  beginRequest(head: RequestHead, maxBytes: number): FieldSink {
    this.#method.seen =
      this.#scheme.seen =
      this.#authority.seen =
      this.#path.seen =
        false;
    this.#trailersWanted = this.#continueWanted = false;
    return this.#begin(head, REQUEST, maxBytes);
  }

  /** The next block is a response's head. */
  beginResponse(head: ResponseHead, maxBytes: number): FieldSink {
    this.#status.seen = false;
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
    else if (nameBuf[nameFrom] === 58) {
      this.#code = this.#pseudo(nameBuf, nameFrom, nameTo, buf, from, to);
    } else {
      if (!this.#lined) this.#line();
      if (this.#code === 0) this.#code = this.#regular(nameBuf, nameFrom, nameTo, buf, from, to);
    }
  }

  #pseudo(
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    buf: Uint8Array,
    from: number,
    to: number,
  ): number {
    if (this.#lined) return MALFORMED; // after a regular field, or in trailers (§8.3)
    if (this.#kind === RESPONSE) {
      return is(nameBuf, nameFrom, nameTo, ":status")
        ? take(this.#status, buf, from, to)
        : MALFORMED;
    }
    if (is(nameBuf, nameFrom, nameTo, ":path")) return take(this.#path, buf, from, to);
    if (is(nameBuf, nameFrom, nameTo, ":method")) return take(this.#method, buf, from, to);
    if (is(nameBuf, nameFrom, nameTo, ":scheme")) return take(this.#scheme, buf, from, to);
    if (is(nameBuf, nameFrom, nameTo, ":authority")) return take(this.#authority, buf, from, to);
    return MALFORMED;
  }

  /** Writes the first line, which the pseudo-headers say. */
  #line(): void {
    this.#lined = true;
    this.#code = this.#kind === REQUEST
      ? this.#requestLine(this.#head as RequestHead)
      : this.#statusLine(this.#head as ResponseHead);
  }

  #requestLine(head: RequestHead): number {
    const method = this.#method;
    const path = this.#path;
    const authority = this.#authority;
    if (!method.seen || method.length === 0 || !all(method, METHOD)) return MALFORMED;
    head.isConnect = equals(method, "CONNECT");
    head.isHead = equals(method, "HEAD");
    if (authority.seen && (authority.length === 0 || !all(authority, AUTHORITY))) return MALFORMED;
    if (head.isConnect) {
      if (path.seen || this.#scheme.seen || !authority.seen) return MALFORMED; // §8.5
    } else {
      if (!path.seen || path.length === 0 || !all(path, TARGET)) return MALFORMED;
      if (path.buf[0] !== 47 && !(path.length === 1 && path.buf[0] === 42)) return MALFORMED;
      if (!this.#scheme.seen || !(equals(this.#scheme, "http") || equals(this.#scheme, "https"))) {
        return MALFORMED;
      }
    }
    const text = this.#text;
    const target = head.isConnect ? authority : path;
    let at = put(method, text, 0);
    head.methodTo = at;
    text[at++] = 32;
    head.targetFrom = head.pathFrom = at;
    at = put(target, text, at);
    head.targetTo = at;
    at = writeLatin1(" HTTP/1.1\r\n", text, at);
    head.authorityFrom = head.authorityTo = 0;
    if (authority.seen) {
      const nameFrom = at;
      at = writeLatin1("host: ", text, at);
      head.authorityFrom = at;
      at = put(authority, text, at);
      head.authorityTo = at;
      addField(head, nameFrom, nameFrom + 4, nameFrom + 6, at, FIELD_HOST);
      at = crlf(text, at);
    }
    this.#at = at;
    return 0;
  }

  #statusLine(head: ResponseHead): number {
    const { seen, length, buf } = this.#status;
    if (!seen || length !== 3) return MALFORMED;
    const status = decimal(buf, 0, 3);
    if (status < 100 || status === 101) return MALFORMED; // no upgrades in HTTP/2 (§8.6)
    head.status = status;
    let at = writeLatin1("HTTP/1.1 ", this.#text, 0);
    at = put(this.#status, this.#text, at);
    this.#text[at++] = 32;
    head.reasonFrom = at;
    at = writeLatin1(reasonOf(status), this.#text, at);
    head.reasonTo = at;
    this.#at = crlf(this.#text, at);
    return 0;
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
    let at = start;
    for (let i = nameFrom; i < nameTo; i++) {
      const c = nameBuf[i] as number;
      if (((CLASS[c] as number) & LOWER_TOKEN) === 0) return MALFORMED; // upper case too (§8.2.1)
      text[at++] = c;
    }
    const nameEnd = at;
    text[at++] = 58;
    text[at++] = 32;
    const valueFrom = at;
    for (let i = from; i < to; i++) {
      const c = buf[i] as number;
      if (((CLASS[c] as number) & VALUE) === 0) return MALFORMED;
      text[at++] = c;
    }
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
    const { seen, length, buf } = this.#authority;
    if (seen) {
      if (to - from !== length) return MALFORMED;
      for (let i = 0; i < length; i++) if (buf[i] !== this.#text[from + i]) return MALFORMED;
      return DROPPED;
    }
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
    for (let i = from; i < to; i++) cookie.buf[cookie.length++] = this.#text[i] as number;
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
    if (head.isConnect && length >= 0) return MALFORMED;
    head.bodyLength = end || head.isConnect ? 0 : length >= 0 ? length : CHUNKED;
    head.expectsContinue = this.#continueWanted && !end;
    head.wantsTrailers = this.#trailersWanted;
    head.upgrade = false;
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
    if (status < 200 && end) return MALFORMED; // an interim response ends nothing (§8.1)
    if (end && length > 0 && !none) return MALFORMED;
    head.tunnel = toConnect && status >= 200 && status < 300;
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
