// HPACK fields to heads (RFC 9113 §8): validates, and notes each field – as the table's object, or as a
// line of HTTP/1 text with how it came behind it – in a form that all layers and both encoders read. One
// reader serves every connection, since decoding never suspends: a head that is read is lent until the
// next block, `retain` it. The first line is pseudo-fields.ts, writing is write-heads.ts.

import type { Field } from "../../core/field.ts";
import {
  FIELD_CONTENT_LENGTH,
  FIELD_HOP,
  FIELD_HOST,
  FIELD_MESH,
  FIELD_PACKED,
  FIELD_PLAIN,
  type Head,
  MAX_FIELDS,
  type RequestHead,
  type ResponseHead,
} from "../../core/head.ts";
import { writeLatin1 } from "../../core/intern.ts";
import { CHUNKED, MALFORMED, TOO_LARGE } from "../http1/codes.ts";
import {
  allOf,
  AUTHORITY,
  copy,
  copyAll,
  crlf,
  decimal,
  is,
  isSpace,
  same,
  VALUE,
} from "./field-bytes.ts";
import {
  COOKIE,
  EXPECT,
  fits,
  FORBIDDEN,
  HOP,
  HOST,
  kindOf,
  LENGTH,
  MAX_AUTHORITY,
  MESH,
  PLAIN,
  PSEUDO,
  TE,
} from "./field-rules.ts";
import type { FieldSink, Literal } from "./hpack-decoder.ts";
import type { HpackField } from "./hpack-field.ts";
import { pack } from "./packed.ts";
import { type Part, PseudoFields } from "./pseudo-fields.ts";

const MAX_BYTES = 64 * 1024;
const REQUEST = 0;
const RESPONSE = 1;
const TRAILERS = 2;
/** What a field weighs beside its name and value. */
const LINE_EXTRA = 4;

/** Reads one block at a time: `begin…`, the block's fields, `finish…`. */
export class HeadReader implements FieldSink {
  // every literal in both its forms, and a cookie's first crumb once more in the whole one
  readonly #text = new Uint8Array(3 * MAX_BYTES + 8192);
  readonly #pseudo = new PseudoFields(MAX_BYTES);
  readonly #cookie = new Uint8Array(MAX_BYTES);
  #cookieTo = 0; // 0: no more than one crumb
  #cookieAt = -1; // where the head has the first
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
    this.#cookieTo = 0;
    this.#cookieAt = -1;
    head.known ??= [];
    head.count = head.knownBytes = 0;
    return this;
  }

  /** The length of the body that the block declared, or -1. */
  get contentLength(): number {
    return this.#contentLength;
  }

  known(field: HpackField): void {
    if (this.#code !== 0) return;
    this.#weight += field.line.length;
    const kind = kindOf(field.rule);
    if (this.#weight > this.#max) this.#code = TOO_LARGE;
    else if (!field.fits) this.#code = MALFORMED;
    else if (kind < PSEUDO) {
      this.#code = this.#lined || this.#line() ? this.#entry(kind, field) : this.#code;
    } else if (this.#pseudoOf(kind)?.known(field) !== true) this.#code = MALFORMED;
  }

  literal(literal: Literal): void {
    if (this.#code !== 0) return;
    const { nameTo, rule, buf, from, to } = literal;
    this.#weight += nameTo + to - from + LINE_EXTRA;
    const kind = kindOf(rule);
    if (this.#weight > this.#max) this.#code = TOO_LARGE;
    else if (kind === FORBIDDEN) this.#code = MALFORMED;
    else if (kind < PSEUDO) {
      this.#code = this.#lined || this.#line() ? this.#span(kind, literal) : this.#code;
    } else if (!fits(kind, buf, from, to) || this.#pseudoOf(kind)?.literal(literal) !== true) {
      this.#code = MALFORMED;
    }
  }

  /** Where a pseudo-header goes; null: not after a regular field, nor in trailers (§8.3). */
  #pseudoOf(kind: number): Part | null {
    return this.#lined ? null : this.#pseudo.of(kind, this.#kind === RESPONSE);
  }

  /** Writes the first line, which the pseudo-headers say; false: they say none. */
  #line(): boolean {
    this.#lined = true;
    const at = this.#kind === REQUEST
      ? this.#pseudo.requestLine(this.#head as RequestHead, this.#text)
      : this.#pseudo.statusLine(this.#head as ResponseHead, this.#text, this.#protocol);
    if (at < 0) this.#code = at;
    else this.#at = at;
    return at >= 0;
  }

  /** A regular field of a table: 0, or why the message is refused. */
  #entry(kind: number, field: HpackField): number {
    const head = this.#head as Head;
    let mark = FIELD_PLAIN;
    if (kind !== PLAIN) {
      // the authority's bytes are looked for in the head's own
      if (kind === HOST && this.#kind === REQUEST) return this.#hostOf(field);
      mark = this.#classify(kind, field.line, field.valueFrom, field.valueTo);
      if (mark < 0) return mark;
      if (mark === DROPPED) return 0;
    }
    if (head.count === MAX_FIELDS) return TOO_LARGE;
    head.addKnown(field, mark);
    return 0;
  }

  /** A regular field as text, with how it came. */
  #span(kind: number, literal: Literal): number {
    const head = this.#head as Head;
    const text = this.#text;
    const start = this.#at;
    const nameEnd = copy(literal.nameBuf, 0, literal.nameTo, text, start);
    text[nameEnd] = 58;
    text[nameEnd + 1] = 32;
    const valueFrom = nameEnd + 2;
    const at = copyAll(VALUE, literal.buf, literal.from, literal.to, text, valueFrom);
    if (at < 0) return MALFORMED;
    if (at > valueFrom && (isSpace(text[valueFrom]) || isSpace(text[at - 1]))) return MALFORMED;
    const mark = kind === PLAIN ? FIELD_PLAIN : this.#classify(kind, text, valueFrom, at);
    if (mark < 0) return mark;
    if (mark === DROPPED) return 0;
    if (head.count === MAX_FIELDS) return TOO_LARGE;
    head.addSpan(start, nameEnd, valueFrom, at, mark | FIELD_PACKED);
    this.#at = pack(literal, text, crlf(text, at));
    return 0;
  }

  /** What a field means for framing and forwarding; negative: the message is refused. */
  #classify(kind: number, buf: Uint8Array, from: number, to: number): number {
    switch (kind) {
      case MESH:
        return FIELD_MESH;
      case HOP:
        return FIELD_HOP;
      case TE:
        if (!is(buf, from, to, "trailers")) return MALFORMED;
        this.#trailersWanted = true;
        return FIELD_HOP;
      case LENGTH:
        return this.#length(buf, from, to);
    }
    if (this.#kind !== REQUEST) return FIELD_PLAIN;
    switch (kind) {
      case HOST:
        return this.#host(buf, from, to);
      case COOKIE:
        return this.#crumb(buf, from, to);
      case EXPECT:
        if (!is(buf, from, to, "100-continue")) return MALFORMED;
        this.#continueWanted = true;
        return FIELD_HOP;
    }
    return FIELD_PLAIN;
  }

  /** Host of a table's field, as text. */
  #hostOf(field: HpackField): number {
    const head = this.#head as Head;
    const start = this.#at;
    const at = copy(field.line, 0, field.line.length, this.#text, start);
    const mark = this.#host(this.#text, start + field.valueFrom, start + field.valueTo);
    if (mark < 0) return mark;
    if (mark === DROPPED) return 0;
    if (head.count === MAX_FIELDS) return TOO_LARGE;
    head.addSpan(start, start + field.nameTo, start + field.valueFrom, start + field.valueTo, mark);
    this.#at = at;
    return 0;
  }

  /** Host beside :authority must name the same (§8.3.1), and is then left out. `buf` is the text. */
  #host(buf: Uint8Array, from: number, to: number): number {
    const { authority } = this.#pseudo;
    if (authority.seen) {
      return same(buf, from, to, authority.buf, authority.from, authority.to) ? DROPPED : MALFORMED;
    }
    if (this.#hostFrom >= 0 || to === from || to - from > MAX_AUTHORITY) return MALFORMED;
    if (!allOf(buf, from, to, AUTHORITY)) return MALFORMED;
    this.#hostFrom = from;
    this.#hostTo = to;
    return FIELD_HOST;
  }

  /** Crumbs become one cookie again, since HTTP/1 and filters know one (§8.2.3). */
  #crumb(buf: Uint8Array, from: number, to: number): number {
    const head = this.#head as Head;
    const cookie = this.#cookie;
    if (this.#cookieAt < 0) {
      this.#cookieAt = head.count;
      return FIELD_PLAIN;
    }
    let at = this.#cookieTo;
    if (at === 0) at = this.#firstCrumb(head, cookie);
    cookie[at] = 59;
    cookie[at + 1] = 32;
    this.#cookieTo = copy(buf, from, to, cookie, at + 2);
    return DROPPED;
  }

  #firstCrumb(head: Head, cookie: Uint8Array): number {
    const field = (head.known as (Field | null)[])[this.#cookieAt] as Field | null;
    if (field !== null) return copy(field.line, field.valueFrom, field.valueTo, cookie, 0);
    const k = this.#cookieAt * 4;
    return copy(this.#text, head.spans[k + 2] as number, head.spans[k + 3] as number, cookie, 0);
  }

  #length(buf: Uint8Array, from: number, to: number): number {
    if (this.#kind === TRAILERS) return FIELD_HOP;
    if (this.#contentLength >= 0) return MALFORMED;
    this.#contentLength = decimal(buf, from, to);
    if (this.#contentLength < 0) return MALFORMED;
    return FIELD_CONTENT_LENGTH;
  }

  /** Ends a request's head: 0, or `MALFORMED` or `TOO_LARGE`. `end`: no body follows. */
  finishRequest(end: boolean): number {
    if (this.#code === 0 && !this.#lined) this.#line();
    if (this.#code !== 0) return this.#code;
    const head = this.#head as RequestHead;
    if (this.#cookieTo > 0) this.#join(head);
    if (this.#hostFrom >= 0) {
      head.authorityFrom = this.#hostFrom;
      head.authorityTo = this.#hostTo;
    }
    // http and https have an authority (RFC 9110 §4.2); an empty one is nobody
    if (head.authorityTo === 0 && head.authorityField === null) return MALFORMED;
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

  /** Puts the whole cookie in the place of its first crumb. */
  #join(head: Head): void {
    const from = this.#at;
    const valueFrom = writeLatin1("cookie: ", this.#text, from);
    const to = copy(this.#cookie, 0, this.#cookieTo, this.#text, valueFrom);
    head.replaceSpan(this.#cookieAt, from, from + 6, valueFrom, to, FIELD_PLAIN);
    this.#at = crlf(this.#text, to);
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
