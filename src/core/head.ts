// A message head: the received bytes and where things are in them. Offsets instead of strings; a
// header becomes a string only when a route, filter or metric asks for it.

import type { Field } from "./field.ts";
import { internLatin1 } from "./intern.ts";
import { part } from "./part.ts";

/** Most header fields in one head; more are refused. */
export const MAX_FIELDS = 128;

/** A header name, made once (per process or per configuration) and compared by bytes. */
export interface HeaderName {
  /** Lower case. */
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Framing and routing fields, which are the codec's alone: edits of them have no effect. */
  readonly codec: boolean;
}

const CODEC_FIELDS = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
const names = new Map<string, HeaderName>();

/** The one `HeaderName` for `text`, in any case. Throws when it is not a token (RFC 9110 §5.1). */
export function headerName(text: string): HeaderName {
  const lower = text.toLowerCase();
  let name = names.get(lower);
  if (name === undefined) {
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(lower)) {
      throw new Error(`"${text}" is not a header name`);
    }
    name = {
      text: lower,
      bytes: Uint8Array.from(lower, (c) => c.charCodeAt(0)),
      codec: CODEC_FIELDS.has(lower),
    };
    names.set(lower, name);
  }
  return name;
}

/** A change to a head, applied when it is encoded. `value` has one code unit per byte. */
export interface HeaderEdit {
  readonly op: "set" | "add" | "remove";
  readonly name: HeaderName;
  readonly value: string;
}

/** What a codec marked a field as, so that encoders need not compare names. */
export const FIELD_PLAIN = 0;
/** Belongs to one connection (RFC 9110 §7.6.1) or to framing: never forwarded as it is. */
export const FIELD_HOP = 1;
export const FIELD_HOST = 2;
export const FIELD_CONTENT_LENGTH = 3;
/** Spoken between proxies only (`l5d-client-id`, `l5d-proxy-error`, …): replaced at the mesh's edge. */
export const FIELD_MESH = 4;
/** The bits of the above. */
export const FIELD_MARK = 7;
/** Beside the others: behind the line stands how HTTP/2 wrote it, for an encoder that does the same. */
export const FIELD_PACKED = 8;

/** Fields and edits: what requests and responses share. Lent by the codec unless `retain`ed. */
export class Head {
  buf: Uint8Array = EMPTY;
  /** Where the head starts in `buf`; all spans are relative to it. */
  base = 0;
  /** Length in bytes, with the empty line. */
  length = 0;
  count = 0;
  /** Four numbers a field that is no object of `known`: name from, name to, value from, value to. */
  readonly spans = new Int32Array(MAX_FIELDS * 4);
  /** `FIELD_*` of each field; `FIELD_PACKED` beside. */
  readonly marks = new Uint8Array(MAX_FIELDS);
  /**
   * Fields that are objects of the codec's tables, by index; such a field has no spans. Null where the
   * bytes are in `buf`. No array at all: a codec without tables.
   */
  known: (Field | null)[] | null = null;
  /** Bytes of the lines of `known`, which are not in `length`. */
  knownBytes = 0;
  /** HTTP major version as received: 1 or 2. Set once by a codec, for all heads of a connection. */
  major = 1;
  /** HTTP minor version: 0 or 1. 1 for HTTP/2. */
  minor = 1;
  /** Declared body length; -1: chunked; -2: until close (responses only). */
  bodyLength = 0;
  /** The sender wants the connection closed after this message. */
  close = false;
  readonly edits: HeaderEdit[] = [];
  #own: Uint8Array | null = null;

  /** Index of the first field called `name` from `start` on, or -1. Edits are not looked at. */
  find(name: HeaderName, start = 0): number {
    const { spans, count, known } = this;
    const want = name.bytes;
    const length = want.length;
    for (let i = start; i < count; i++) {
      const field = known === null ? null : known[i] as Field | null;
      let { buf, base: from } = this;
      if (field !== null) {
        if (field.nameTo !== length) continue;
        buf = field.line;
        from = 0;
      } else {
        const nameFrom = spans[i * 4] as number;
        if ((spans[i * 4 + 1] as number) - nameFrom !== length) continue;
        from += nameFrom;
      }
      let k = 0;
      while (k < length) {
        let c = buf[from + k] as number;
        if (c >= 0x41 && c <= 0x5a) c |= 0x20;
        if (c !== want[k]) break;
        k++;
      }
      if (k === length) return i;
    }
    return -1;
  }

  /** The bytes that field `i` lies in; where its value is there, `valueFrom` and `valueTo` say. */
  bytesOf(i: number): Uint8Array {
    const field = this.known === null ? null : this.known[i] as Field | null;
    return field !== null ? field.line : this.buf;
  }

  valueFrom(i: number): number {
    const field = this.known === null ? null : this.known[i] as Field | null;
    return field !== null ? field.valueFrom : this.base + (this.spans[i * 4 + 2] as number);
  }

  valueTo(i: number): number {
    const field = this.known === null ? null : this.known[i] as Field | null;
    return field !== null ? field.valueTo : this.base + (this.spans[i * 4 + 3] as number);
  }

  /** The value of field `i` as received, one code unit per byte, interned. */
  valueAt(i: number): string {
    const field = this.known === null ? null : this.known[i] as Field | null;
    if (field !== null) return field.value;
    return internLatin1(this.buf, this.valueFrom(i), this.valueTo(i));
  }

  /** The name of field `i`, lower case. */
  nameAt(i: number): string {
    const field = this.known === null ? null : this.known[i] as Field | null;
    if (field !== null) return field.name;
    return internLatin1(
      this.buf,
      this.base + (this.spans[i * 4] as number),
      this.base + (this.spans[i * 4 + 1] as number),
    ).toLowerCase();
  }

  /** The first value of `name` with edits applied, or null. */
  get(name: HeaderName): string | null {
    for (let k = this.edits.length - 1; k >= 0; k--) {
      const edit = this.edits[k] as HeaderEdit;
      if (edit.name !== name) continue;
      if (edit.op === "set") return edit.value;
      if (edit.op === "remove") return null;
      // added: an earlier value comes first, unless it was removed before
      const before = this.edits.slice(0, k).findLast((e) => e.name === name && e.op !== "add");
      if (before?.op === "set") return before.value;
      if (before === undefined) {
        const i = this.find(name);
        if (i >= 0) return this.valueAt(i);
      }
      const first = this.edits.find((e, at) =>
        e.name === name && e.op === "add" &&
        (before === undefined || at > this.edits.indexOf(before))
      );
      return first?.value ?? edit.value;
    }
    const i = this.find(name);
    return i < 0 ? null : this.valueAt(i);
  }

  /** Replaces every field called `name`. The value must be free of CR, LF and NUL. */
  set(name: HeaderName, value: string): void {
    this.edits.push({ op: "set", name, value: checkValue(value) });
  }

  /** Adds a field beside those that there are. */
  add(name: HeaderName, value: string): void {
    this.edits.push({ op: "add", name, value: checkValue(value) });
  }

  remove(name: HeaderName): void {
    this.edits.push({ op: "remove", name, value: "" });
  }

  /** Notes a field of the codec's tables. */
  addKnown(field: Field, mark: number): void {
    const i = this.count++;
    this.marks[i] = mark;
    (this.known ??= [])[i] = field;
    this.knownBytes += field.line.length;
  }

  /** Notes a field whose bytes will be in `buf`; offsets from the head's start. */
  addSpan(nameFrom: number, nameTo: number, from: number, to: number, mark: number): void {
    this.replaceSpan(this.count++, nameFrom, nameTo, from, to, mark);
  }

  /** As `addSpan`, in the place of field `i`. */
  replaceSpan(
    i: number,
    nameFrom: number,
    nameTo: number,
    from: number,
    to: number,
    mark: number,
  ): void {
    const k = i * 4;
    this.spans[k] = nameFrom;
    this.spans[k + 1] = nameTo;
    this.spans[k + 2] = from;
    this.spans[k + 3] = to;
    this.marks[i] = mark;
    if (this.known !== null) this.known[i] = null;
  }

  /** Copies the lent bytes, so that the head outlives the call. Idempotent until the next `lend`. */
  retain(): void {
    if (this.#own !== null && this.buf === this.#own) return;
    const own = this.#own !== null && this.#own.length >= this.length
      ? this.#own
      : new Uint8Array(Math.max(1024, this.length));
    own.set(part(this.buf, this.base, this.base + this.length));
    this.#own = own;
    this.buf = own;
    this.base = 0;
  }

  /** Points at received bytes; called by the codec. */
  lend(buf: Uint8Array, base: number, length: number): void {
    this.buf = buf;
    this.base = base;
    this.length = length;
    while (this.edits.length > 0) this.edits.pop(); // keeps its memory, which `length = 0` does not
  }
}

const EMPTY = new Uint8Array(0);

function checkValue(value: string): string {
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c === 0 || c === 10 || c === 13 || c > 255) {
      throw new Error(
        "a header value must be free of NUL, CR and LF and have one code unit per byte",
      );
    }
  }
  return value;
}

/** A request's line and fields. */
export class RequestHead extends Head {
  methodTo = 0; // the method starts at 0
  /** The request target as received: origin-form, absolute-form, authority-form or `*`. */
  targetFrom = 0;
  targetTo = 0;
  /** Where the path begins (equal to `targetFrom` for origin-form); query included. */
  pathFrom = 0;
  /** The authority of an absolute-form or authority-form target, or the value of Host. Empty: none. */
  authorityFrom = 0;
  authorityTo = 0;
  /** The codec's objects whose values method, target and authority are; null: they are bytes. */
  methodField: Field | null = null;
  pathField: Field | null = null;
  authorityField: Field | null = null;
  /** Where in the head stands how HTTP/2 wrote the path; 0: nowhere. */
  packedPath = 0;
  /** HTTP/2 wrote method or authority in the way that no hop may keep. */
  neverIndex = false;
  isConnect = false;
  isHead = false;
  /** `Expect: 100-continue`. */
  expectsContinue = false;
  /** `TE: trailers`. */
  wantsTrailers = false;
  /** `Connection: upgrade` with an `Upgrade` field. */
  upgrade = false;
  /**
   * A target in absolute-form goes on in that form, and CONNECT as CONNECT. An explicit proxy leaves it
   * false, since both were meant for it; where the form is the application's business it is set again.
   */
  absoluteForm = false;
  /** Replaces the path and query when it is encoded; set by filters. */
  newPath: string | null = null;
  /** Replaces Host when it is encoded; set by filters. */
  newAuthority: string | null = null;

  override lend(buf: Uint8Array, base: number, length: number): void {
    super.lend(buf, base, length);
    this.absoluteForm = false;
    this.newPath = null;
    this.newAuthority = null;
  }

  /** Keeps the target's form, for a client of HTTP/1 that knows of no proxy. */
  keepForm(): void {
    if (this.major !== 1) return;
    this.absoluteForm = this.isConnect || this.pathFrom !== this.targetFrom;
  }

  get method(): string {
    if (this.methodField !== null) return this.methodField.value;
    return internLatin1(this.buf, this.base, this.base + this.methodTo);
  }

  /** Path and query, as it will be sent on. */
  get path(): string {
    if (this.newPath !== null) return this.newPath;
    if (this.pathField !== null) return this.pathField.value;
    const text = internLatin1(this.buf, this.base + this.pathFrom, this.base + this.targetTo);
    return text === "" ? "/" : text;
  }

  /** `host[:port]` as it will be sent on; empty when there is none. */
  get authority(): string {
    return this.newAuthority ?? this.authorityField?.value ??
      internLatin1(this.buf, this.base + this.authorityFrom, this.base + this.authorityTo);
  }
}

/** A response's line and fields. */
export class ResponseHead extends Head {
  status = 0;
  reasonFrom = 0;
  reasonTo = 0;
  /** After this head both directions carry raw bytes (101, or 2xx to CONNECT). */
  tunnel = false;
}
