// The pseudo-headers of a block (RFC 9113 §8.3), and the first line of HTTP/1 that they say. Part of
// read-heads.ts, which reads the fields after them; what a value may be is field-rules.ts.

import {
  FIELD_HOP,
  FIELD_HOST,
  type Head,
  type RequestHead,
  type ResponseHead,
} from "../../core/head.ts";
import { internLatin1, writeLatin1 } from "../../core/intern.ts";
import { MALFORMED } from "../http1/codes.ts";
import { copy, crlf, decimal, is } from "./field-bytes.ts";
import {
  AUTHORITY_NAME,
  METHOD_NAME,
  PATH_NAME,
  PROTOCOL_NAME,
  SCHEME_NAME,
  STATUS_NAME,
} from "./field-rules.ts";
import type { Literal } from "./hpack-decoder.ts";
import type { HpackField } from "./hpack-field.ts";
import { pack, packedRoom } from "./packed.ts";

/** A pseudo-header's value: of a table's field, where it lies there, else copied. */
export class Part {
  readonly #own: Uint8Array;
  seen = false;
  buf: Uint8Array;
  from = 0;
  to = 0;
  field: HpackField | null = null;
  /** Where in `buf` stands how it came; only beside a value that was copied. */
  packed = 0;
  packedTo = 0;
  never = false;

  /** `maxBytes`: of a value that no table keeps, in both its forms. */
  constructor(maxBytes: number) {
    this.buf = this.#own = new Uint8Array(maxBytes);
  }

  get length(): number {
    return this.to - this.from;
  }

  /** Takes a field of a table; false: the block has one already. */
  known(field: HpackField): boolean {
    if (this.seen) return false;
    this.seen = true;
    this.buf = field.line;
    this.from = field.valueFrom;
    this.to = field.valueTo;
    this.field = field;
    this.never = false;
    return true;
  }

  /** Takes a literal; false: there is one, or this is over every bound. */
  literal(literal: Literal): boolean {
    const { buf, from, to } = literal;
    if (this.seen || to - from + packedRoom(literal) > this.#own.length) return false;
    this.seen = true;
    this.buf = this.#own;
    this.from = 0;
    this.to = this.packed = copy(buf, from, to, this.#own, 0);
    this.packedTo = pack(literal, this.#own, this.packed);
    this.field = null;
    this.never = literal.never;
    return true;
  }

  is(text: string): boolean {
    return is(this.buf, this.from, this.to, text);
  }

  /** Writes the value unless it is a table's; the end. */
  put(text: Uint8Array, at: number): number {
    return this.field !== null ? at : copy(this.buf, this.from, this.to, text, at);
  }
}

/** Both forms of a value whose length is bounded by its rule: Huffman takes at most 30 bits a byte. */
const SHORT_BYTES = 2048;

export class PseudoFields {
  /** The value of `:authority`, which a Host field must not contradict. */
  readonly authority: Part = new Part(SHORT_BYTES);
  readonly #method = new Part(SHORT_BYTES);
  readonly #scheme = new Part(SHORT_BYTES);
  readonly #path: Part;
  readonly #protocol = new Part(SHORT_BYTES);
  readonly #status = new Part(SHORT_BYTES);

  constructor(maxPathBytes: number) {
    this.#path = new Part(maxPathBytes * 2 + 1);
  }

  /** Forgets the last block's. */
  begin(): void {
    this.#method.seen =
      this.#scheme.seen =
      this.#path.seen =
      this.#protocol.seen =
      this.#status.seen =
      this.authority.seen =
        false;
  }

  /** The part of that kind, or null: a message of this sort has none (§8.3.1, §8.3.2). */
  of(kind: number, isResponse: boolean): Part | null {
    if (isResponse) return kind === STATUS_NAME ? this.#status : null;
    switch (kind) {
      case METHOD_NAME:
        return this.#method;
      case SCHEME_NAME:
        return this.#scheme;
      case PATH_NAME:
        return this.#path;
      case AUTHORITY_NAME:
        return this.authority;
      case PROTOCOL_NAME:
        return this.#protocol;
      default:
        return null;
    }
  }

  /**
   * Notes what a request's line says, Host and Upgrade; what no table keeps is written at the start of
   * `text`. Where that ends, or `MALFORMED`.
   */
  requestLine(head: RequestHead, text: Uint8Array): number {
    const method = this.#method;
    const path = this.#path;
    const { authority } = this;
    if (!method.seen) return MALFORMED;
    const asksConnect = method.is("CONNECT");
    // Extended CONNECT is what HTTP/1 upgrades with a GET (RFC 8441 §4).
    const extended = this.#protocol.seen;
    if (extended && !asksConnect) return MALFORMED;
    head.upgrade = extended;
    head.isConnect = asksConnect && !extended;
    head.isHead = method.is("HEAD");
    const hasTarget = path.seen && this.#scheme.seen;
    if (head.isConnect) {
      if (path.seen || this.#scheme.seen || !authority.seen) return MALFORMED; // §8.5
    } else if (!hasTarget) return MALFORMED;
    let at = extended ? writeLatin1("GET", text, 0) : method.put(text, 0);
    head.methodField = extended ? null : method.field;
    head.methodTo = at;
    at = this.#target(head, head.isConnect ? authority : path, text, at);
    head.packedPath = 0;
    if (!head.isConnect && path.field === null) {
      head.packedPath = at;
      at = copy(path.buf, path.packed, path.packedTo, text, at);
    }
    at = this.#host(head, text, at);
    head.neverIndex = method.never || (authority.seen && authority.never);
    if (!extended) return at;
    const { buf, from, to } = this.#protocol;
    return upgradeLine(head, internLatin1(buf, from, to), text, at);
  }

  #target(head: RequestHead, part: Part, text: Uint8Array, at: number): number {
    head.pathField = part.field;
    head.targetFrom = head.pathFrom = at;
    return head.targetTo = part.put(text, at);
  }

  /** The authority, as Host too. */
  #host(head: RequestHead, text: Uint8Array, at: number): number {
    const { authority } = this;
    head.authorityFrom = head.authorityTo = 0;
    head.authorityField = null;
    if (!authority.seen) return at;
    const { field } = authority;
    if (field !== null) {
      head.authorityField = field;
      head.addKnown(field.host(), FIELD_HOST);
      return at;
    }
    const from = writeLatin1("host: ", text, at);
    const to = authority.put(text, from);
    head.authorityFrom = from;
    head.authorityTo = to;
    head.addSpan(at, at + 4, from, to, FIELD_HOST);
    return crlf(text, to);
  }

  /**
   * Notes a response's status, and writes at the start of `text` what it upgrades to: where that ends, or
   * `MALFORMED`. `protocol`: what extended CONNECT asked for, which a 2xx grants as HTTP/1's 101 does;
   * empty: nothing.
   */
  statusLine(head: ResponseHead, text: Uint8Array, protocol: string): number {
    const { seen, buf, from, to } = this.#status;
    if (!seen) return MALFORMED;
    const said = decimal(buf, from, to);
    head.tunnel = protocol !== "" && said >= 200 && said < 300;
    head.status = head.tunnel ? 101 : said;
    head.reasonFrom = head.reasonTo = 0;
    return head.tunnel ? upgradeLine(head, protocol, text, 0) : 0;
  }
}

/** Writes the field that says in HTTP/1 what is switched to; its end. */
function upgradeLine(head: Head, protocol: string, text: Uint8Array, at: number): number {
  const valueFrom = writeLatin1("upgrade: ", text, at);
  const to = writeLatin1(protocol, text, valueFrom);
  head.addSpan(at, at + 7, valueFrom, to, FIELD_HOP);
  return crlf(text, to);
}
