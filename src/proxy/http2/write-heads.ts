// Heads to HPACK fields (RFC 9113 §8): names in lower case, what belongs to one hop left out, edits
// applied here, so that every attempt starts from the same bytes. What came over HTTP/2 goes out as it
// came: a table's field by its index here, a literal unread. Used between `openBlock` and `closeBlock` of
// a session; reading is read-heads.ts.

import type { Field } from "../../core/field.ts";
import {
  FIELD_CONTENT_LENGTH,
  FIELD_HOP,
  FIELD_HOST,
  FIELD_MARK,
  FIELD_MESH,
  type Head,
  type HeaderEdit,
  type RequestHead,
  type ResponseHead,
} from "../../core/head.ts";
import { writeLatin1 } from "../../core/intern.ts";
import { overridden, replaced } from "../http1/encode.ts";
import { CHUNKED } from "../http1/codes.ts";
import { INDEX, NEVER_INDEX, NO_INDEX, ruleOf, wayOf } from "./field-rules.ts";
import type { HpackEncoder } from "./hpack-encoder.ts";
import { constantField, type HpackField } from "./hpack-field.ts";
import { writePacked } from "./packed.ts";

/** A field's bytes beside what it is made of: prefix integers and, at worst, nothing won by Huffman. */
const PER_FIELD = 16;
/** What stands between a value's end and how it came. */
const LINE_END = 2;
/** Pseudo-headers, and fields that we add. */
const OWN_BYTES = 512;

/** Room that an encoded head may need. */
export function blockRoom(head: Head): number {
  let room = head.length + head.knownBytes + head.count * PER_FIELD + OWN_BYTES;
  for (const edit of head.edits) {
    room += edit.name.text.length + edit.value.length + PER_FIELD;
  }
  return room;
}

/** As `blockRoom`, with a new path and authority. */
export function requestBlockRoom(head: RequestHead): number {
  const { methodField, pathField, authorityField } = head;
  const known = (methodField?.line.length ?? 0) + (pathField?.line.length ?? 0) +
    (authorityField?.line.length ?? 0);
  return blockRoom(head) + known + (head.newPath?.length ?? 0) + (head.newAuthority?.length ?? 0);
}

// One field at a time is put together here when its name and value are not beside each other.
let scratch = new Uint8Array(4096);

const HTTP = constantField(":scheme", "http");
const EXPECT = constantField("expect", "100-continue");
const TRAILERS = constantField("te", "trailers");
const PATH = Uint8Array.from(":path", (c) => c.charCodeAt(0));

/** `:status` of each code that was ever sent. */
const STATUS: HpackField[] = [];

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
 * Writes a request as it goes to an endpoint; the end. Received `l5d-…` fields are never forwarded: a
 * proxy sets its own as edits. `protocol`: what extended CONNECT asks for (RFC 8441 §4), or empty.
 */
export function writeRequestBlock(
  encoder: HpackEncoder,
  head: RequestHead,
  protocol: string,
  dst: Uint8Array,
  at: number,
): number {
  const { buf, base, methodField, authorityField } = head;
  const how = head.neverIndex ? NEVER_INDEX : INDEX;
  if (protocol !== "") {
    at = writeField(encoder, ":method", "CONNECT", INDEX, dst, at);
    at = writeField(encoder, ":protocol", protocol, INDEX, dst, at);
  } else if (methodField !== null) at = encoder.known(methodField as HpackField, dst, at);
  else at = writeSpan(encoder, ":method", buf, base, base + head.methodTo, how, dst, at);
  if (!head.isConnect) {
    at = encoder.known(HTTP, dst, at);
    at = writePath(encoder, head, dst, at);
  }
  if (head.newAuthority !== null) {
    at = writeField(encoder, ":authority", head.newAuthority, INDEX, dst, at);
  } else if (authorityField !== null) at = encoder.known(authorityField as HpackField, dst, at);
  else if (head.authorityTo > head.authorityFrom) {
    const from = base + head.authorityFrom;
    at = writeSpan(encoder, ":authority", buf, from, base + head.authorityTo, how, dst, at);
  }
  at = writeFields(encoder, head, head.bodyLength === CHUNKED, dst, at);
  if (head.expectsContinue) at = encoder.known(EXPECT, dst, at);
  if (head.wantsTrailers) at = encoder.known(TRAILERS, dst, at);
  return at;
}

function writePath(encoder: HpackEncoder, head: RequestHead, dst: Uint8Array, at: number): number {
  const { buf, base } = head;
  if (head.newPath !== null) {
    return writeField(encoder, ":path", head.newPath, NO_INDEX, dst, at);
  }
  if (head.pathField !== null) return encoder.known(head.pathField as HpackField, dst, at);
  if (head.packedPath > 0) {
    return writePacked(encoder, PATH, 0, PATH.length, buf, base + head.packedPath, dst, at);
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
  const field = STATUS[status] ??= constantField(":status", String(status));
  return encoder.known(field, dst, at);
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
  const { buf, base, spans, marks, count, edits, known } = head;
  const edited = edits.length > 0;
  for (let i = 0; i < count; i++) {
    const mark = (marks[i] as number) & FIELD_MARK;
    if (mark === FIELD_HOP || mark === FIELD_HOST || mark === FIELD_MESH) continue;
    if (mark === FIELD_CONTENT_LENGTH && dropLength) continue;
    if (edited && replaced(head, i)) continue;
    const field = known === null ? null : known[i] as Field | null;
    if (field !== null) {
      at = encoder.known(field as HpackField, dst, at);
      continue;
    }
    const k = i * 4;
    const nameFrom = base + (spans[k] as number);
    const nameTo = base + (spans[k + 1] as number);
    const from = base + (spans[k + 2] as number);
    const to = base + (spans[k + 3] as number);
    if (marks[i] !== mark) { // FIELD_PACKED
      at = writePacked(encoder, buf, nameFrom, nameTo, buf, to + LINE_END, dst, at);
      continue;
    }
    if (head.major === 1) lower(buf, nameFrom, nameTo);
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

/** How a field is sent that did not come over HTTP/2. */
function howOf(buf: Uint8Array, from: number, to: number): number {
  return wayOf(ruleOf(buf, from, to));
}
