// Heads to HPACK fields (RFC 9113 §8): names in lower case, what belongs to one hop left out, edits
// applied here, so that every attempt starts from the same bytes. Used between `openBlock` and
// `closeBlock` of a session; reading is read-heads.ts.

import {
  FIELD_CONTENT_LENGTH,
  FIELD_HOP,
  FIELD_HOST,
  FIELD_MESH,
  type Head,
  type HeaderEdit,
  headerName,
  type RequestHead,
  type ResponseHead,
} from "../../core/head.ts";
import { writeLatin1 } from "../../core/intern.ts";
import { overridden, replaced } from "../http1/encode.ts";
import { CHUNKED } from "../http1/codes.ts";
import { type HpackEncoder, INDEX, NEVER_INDEX, NO_INDEX } from "./hpack.ts";

/** A field's bytes beside what it is made of: prefix integers and, at worst, nothing won by Huffman. */
const PER_FIELD = 16;
/** Pseudo-headers, and fields that we add. */
const OWN_BYTES = 512;

/** Room that an encoded head may need. */
export function blockRoom(head: Head): number {
  let room = head.length + head.count * PER_FIELD + OWN_BYTES;
  for (const edit of head.edits) {
    room += edit.name.text.length + edit.value.length + PER_FIELD;
  }
  return room;
}

/** As `blockRoom`, with a new path and authority. */
export function requestBlockRoom(head: RequestHead): number {
  return blockRoom(head) + (head.newPath?.length ?? 0) + (head.newAuthority?.length ?? 0);
}

// One field at a time is put together here when its name and value are not beside each other.
let scratch = new Uint8Array(4096);

/** One field from strings. The value has one code unit per byte, the name is lower case. */
export function writeField(
  encoder: HpackEncoder,
  name: string,
  value: string,
  how: number,
  dst: Uint8Array,
  at: number,
): number {
  need(name.length + value.length);
  const middle = writeLatin1(name, scratch, 0);
  const to = writeLatin1(value, scratch, middle);
  return encoder.field(scratch, 0, middle, middle, to, dst, at, how);
}

/** One field whose value is bytes of a head. */
function writeSpan(
  encoder: HpackEncoder,
  name: string,
  buf: Uint8Array,
  from: number,
  to: number,
  how: number,
  dst: Uint8Array,
  at: number,
): number {
  need(name.length + to - from + 1);
  const middle = writeLatin1(name, scratch, 0);
  let end = middle;
  for (let i = from; i < to; i++) scratch[end++] = buf[i] as number;
  return encoder.field(scratch, 0, middle, middle, end, dst, at, how);
}

function need(bytes: number): void {
  if (scratch.length < bytes) scratch = new Uint8Array(bytes * 2);
}

/**
 * Writes a request as it goes to an endpoint; the end. `scheme` is `http` or `https`. Received `l5d-…`
 * fields are never forwarded: a proxy sets its own as edits. `protocol`: what extended CONNECT asks for
 * (RFC 8441 §4), or empty.
 */
export function writeRequestBlock(
  encoder: HpackEncoder,
  head: RequestHead,
  scheme: string,
  protocol: string,
  dst: Uint8Array,
  at: number,
): number {
  const { buf, base } = head;
  if (protocol === "") {
    at = writeSpan(encoder, ":method", buf, base, base + head.methodTo, INDEX, dst, at);
  } else {
    at = writeField(encoder, ":method", "CONNECT", INDEX, dst, at);
    at = writeField(encoder, ":protocol", protocol, INDEX, dst, at);
  }
  if (!head.isConnect) {
    at = writeField(encoder, ":scheme", scheme, INDEX, dst, at);
    at = writePath(encoder, head, dst, at);
  }
  if (head.newAuthority !== null) {
    at = writeField(encoder, ":authority", head.newAuthority, INDEX, dst, at);
  } else if (head.authorityTo > head.authorityFrom) {
    const from = base + head.authorityFrom;
    at = writeSpan(encoder, ":authority", buf, from, base + head.authorityTo, INDEX, dst, at);
  }
  at = writeFields(encoder, head, head.bodyLength === CHUNKED, dst, at);
  if (head.expectsContinue) at = writeField(encoder, "expect", "100-continue", INDEX, dst, at);
  if (head.wantsTrailers) at = writeField(encoder, "te", "trailers", INDEX, dst, at);
  return at;
}

function writePath(encoder: HpackEncoder, head: RequestHead, dst: Uint8Array, at: number): number {
  const { buf, base } = head;
  if (head.newPath !== null) {
    return writeField(encoder, ":path", head.newPath, NO_INDEX, dst, at);
  }
  const from = base + head.pathFrom;
  const to = base + head.targetTo;
  // absolute-form may have no path at all: "http://host?query"
  if (from === to || buf[from] === 63) {
    return writeField(encoder, ":path", head.path, NO_INDEX, dst, at);
  }
  return writeSpan(encoder, ":path", buf, from, to, NO_INDEX, dst, at);
}

/** Writes a response as it goes to a client; the end. */
export function writeResponseBlock(
  encoder: HpackEncoder,
  head: ResponseHead,
  dst: Uint8Array,
  at: number,
): number {
  at = writeStatus(encoder, head.status, dst, at);
  return writeFields(encoder, head, head.bodyLength === CHUNKED, dst, at);
}

/** Writes `:status`. */
export function writeStatus(
  encoder: HpackEncoder,
  status: number,
  dst: Uint8Array,
  at: number,
): number {
  writeLatin1(":status", scratch, 0);
  scratch[7] = 48 + Math.floor(status / 100);
  scratch[8] = 48 + Math.floor(status / 10) % 10;
  scratch[9] = 48 + status % 10;
  return encoder.field(scratch, 0, 7, 7, 10, dst, at, INDEX);
}

/** Writes the fields after a body; the end. */
export function writeTrailerBlock(
  encoder: HpackEncoder,
  head: Head,
  dst: Uint8Array,
  at: number,
): number {
  return writeFields(encoder, head, true, dst, at);
}

function writeFields(
  encoder: HpackEncoder,
  head: Head,
  dropLength: boolean,
  dst: Uint8Array,
  at: number,
): number {
  const { buf, base, spans, marks, count, edits } = head;
  const edited = edits.length > 0;
  for (let i = 0; i < count; i++) {
    const mark = marks[i] as number;
    if (mark === FIELD_HOP || mark === FIELD_HOST || mark === FIELD_MESH) continue;
    if (mark === FIELD_CONTENT_LENGTH && dropLength) continue;
    if (edited && replaced(head, i)) continue;
    const k = i * 4;
    const nameFrom = base + (spans[k] as number);
    const nameTo = base + (spans[k + 1] as number);
    if (head.major === 1) lower(buf, nameFrom, nameTo);
    const from = base + (spans[k + 2] as number);
    const to = base + (spans[k + 3] as number);
    at = encoder.field(buf, nameFrom, nameTo, from, to, dst, at, howOf(buf, nameFrom, nameTo));
  }
  if (!edited) return at;
  for (let i = 0; i < edits.length; i++) {
    const edit = edits[i] as HeaderEdit;
    if (edit.op === "remove" || edit.name.codec || overridden(edits, i)) continue;
    const { bytes, text } = edit.name;
    at = writeField(encoder, text, edit.value, howOf(bytes, 0, bytes.length), dst, at);
  }
  return at;
}

/** In place: the head's bytes are ours to write, and names have no case. */
function lower(buf: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const c = buf[i] as number;
    if (c >= 65 && c <= 90) buf[i] = c | 0x20;
  }
}

/** Names whose values are secrets, and those whose values hardly ever come twice; by length. */
const RULES: (readonly (readonly [Uint8Array, number])[])[] = [];
for (
  const [name, how] of [
    ["authorization", NEVER_INDEX],
    ["cookie", NEVER_INDEX],
    ["set-cookie", NEVER_INDEX],
    ["proxy-authorization", NEVER_INDEX],
    ["content-length", NO_INDEX],
    ["etag", NO_INDEX],
    ["if-none-match", NO_INDEX],
    ["if-modified-since", NO_INDEX],
    ["last-modified", NO_INDEX],
    ["location", NO_INDEX],
    ["age", NO_INDEX],
    ["traceparent", NO_INDEX],
    ["x-request-id", NO_INDEX],
  ] as const
) {
  RULES[name.length] = [...(RULES[name.length] ?? []), [headerName(name).bytes, how]];
}

function howOf(buf: Uint8Array, from: number, to: number): number {
  const rules = RULES[to - from];
  if (rules === undefined) return INDEX;
  for (let r = 0; r < rules.length; r++) {
    const rule = rules[r] as readonly [Uint8Array, number];
    const bytes = rule[0];
    let i = 0;
    while (i < bytes.length && bytes[i] === buf[from + i]) i++;
    if (i === bytes.length) return rule[1];
  }
  return INDEX;
}
