// HTTP/1 heads, written. Fields are copied as bytes from the head that was received; what belongs to
// one hop is left out, and edits are applied here, so that every attempt starts from the same bytes.

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
import { part } from "../../core/part.ts";
import { reasonOf } from "../http/respond.ts";
import { CHUNKED, UNTIL_CLOSE } from "./codes.ts";
import { upgradeField } from "./framing.ts";

const bytesOf = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const TO_HOST = bytesOf(" HTTP/1.1\r\nhost: ");
const HTTP_11 = bytesOf("HTTP/1.1 ");

/** Room that an encoded head may need: what was received, plus all edits, plus what we add. */
export function headRoom(head: Head): number {
  let room = head.length + head.knownBytes + 256;
  for (const edit of head.edits) room += edit.name.text.length + edit.value.length + 4;
  return room;
}

/** As `headRoom`, with a new path and authority. */
export function requestRoom(head: RequestHead): number {
  const { methodField, pathField, authorityField } = head;
  const authority = head.newAuthority?.length ?? authorityField?.line.length ??
    head.authorityTo - head.authorityFrom;
  const line = (methodField?.line.length ?? 0) + (pathField?.line.length ?? 0);
  return headRoom(head) + line + (head.newPath?.length ?? 0) + authority * 2;
}

/**
 * Writes the request as it goes to an endpoint: origin-form (RFC 9112 §3.2.1) unless the head says
 * otherwise, the client's version, since an application may answer by it, one Host, our own framing.
 * Received `l5d-…` fields are never forwarded: a proxy sets its own as edits.
 */
export function writeRequest(head: RequestHead, buf: Uint8Array, at: number): number {
  const { buf: src, base } = head;
  at = copyPart(head.methodField, src, base, base + head.methodTo, buf, at);
  buf[at++] = 32;
  if (head.absoluteForm && !head.isConnect) {
    at = writeAuthority(head, buf, writeLatin1("http://", buf, at));
  }
  if (head.newPath !== null) at = writeLatin1(head.newPath, buf, at);
  else if (head.pathField !== null) at = copyPart(head.pathField, src, 0, 0, buf, at);
  else if (head.isConnect) at = copy(src, base + head.targetFrom, base + head.targetTo, buf, at);
  else {
    // absolute-form may have no path at all: "http://host?query"
    if (head.pathFrom === head.targetTo || src[base + head.pathFrom] === 63) buf[at++] = 47;
    at = copy(src, base + head.pathFrom, base + head.targetTo, buf, at);
  }
  // A body of no known length needs chunks, which HTTP/1.0 has not: another proxy may send both.
  const isOld = head.major === 1 && head.minor === 0 && head.bodyLength !== CHUNKED;
  if (isOld) at = writeOldVersion(head, buf, at);
  else at = crlf(buf, writeAuthority(head, buf, copy(TO_HOST, 0, TO_HOST.length, buf, at)));
  at = writeFields(head, false, buf, at);
  const { bodyLength, expectsContinue, upgrade, wantsTrailers } = head;
  if (bodyLength === CHUNKED || expectsContinue || upgrade || wantsTrailers) {
    at = writeRequestHop(head, buf, at);
  }
  return crlf(buf, at);
}

/** HTTP/1.0 may have no Host. */
function writeOldVersion(head: RequestHead, buf: Uint8Array, at: number): number {
  at = writeLatin1(" HTTP/1.0\r\n", buf, at);
  if (!hasAuthority(head)) return at;
  return crlf(buf, writeAuthority(head, buf, writeLatin1("host: ", buf, at)));
}

/** What is said of this hop alone, which most requests have nothing of. */
function writeRequestHop(head: RequestHead, buf: Uint8Array, at: number): number {
  if (head.bodyLength === CHUNKED) at = writeLatin1("transfer-encoding: chunked\r\n", buf, at);
  if (head.expectsContinue) at = writeLatin1("expect: 100-continue\r\n", buf, at);
  if (head.upgrade) {
    at = writeLatin1("connection: upgrade\r\nupgrade: ", buf, at);
    at = writeLatin1(upgradeField(head), buf, at);
    at = crlf(buf, at);
  } else if (head.wantsTrailers) {
    at = writeLatin1("connection: te\r\nte: trailers\r\n", buf, at);
  }
  return at;
}

function hasAuthority(head: RequestHead): boolean {
  return head.newAuthority !== null || head.authorityField !== null ||
    head.authorityTo > head.authorityFrom;
}

function writeAuthority(head: RequestHead, buf: Uint8Array, at: number): number {
  if (head.newAuthority !== null) return writeLatin1(head.newAuthority, buf, at);
  const { base, authorityFrom, authorityTo } = head;
  return copyPart(head.authorityField, head.buf, base + authorityFrom, base + authorityTo, buf, at);
}

/** Writes a part of the first line: a table's value, or the head's own bytes. */
function copyPart(
  field: Field | null,
  src: Uint8Array,
  from: number,
  to: number,
  buf: Uint8Array,
  at: number,
): number {
  if (field !== null) return copy(field.line, field.valueFrom, field.valueTo, buf, at);
  return copy(src, from, to, buf, at);
}

/** How the response's body goes to a client. */
export interface ResponseFraming {
  /** Re-chunk: the length is not known and the client knows chunks. */
  readonly chunked: boolean;
  /** Tell the client that the connection ends after this message. */
  readonly close: boolean;
  /** The client spoke HTTP/1.0. */
  readonly minor: number;
}

/** Writes the response as it goes to the client. */
export function writeResponse(
  head: ResponseHead,
  framing: ResponseFraming,
  buf: Uint8Array,
  at: number,
): number {
  const { buf: src, base } = head;
  at = framing.minor === 0
    ? writeLatin1("HTTP/1.0 ", buf, at)
    : copy(HTTP_11, 0, HTTP_11.length, buf, at);
  buf[at++] = 48 + Math.floor(head.status / 100);
  buf[at++] = 48 + Math.floor(head.status / 10) % 10;
  buf[at++] = 48 + head.status % 10;
  buf[at++] = 32;
  if (head.major === 2) at = writeLatin1(reasonOf(head.status), buf, at);
  else at = copy(src, base + head.reasonFrom, base + head.reasonTo, buf, at);
  at = crlf(buf, at);
  // The answer to CONNECT has no length, whatever it says (RFC 9110 §9.3.6).
  at = writeFields(head, framing.chunked || head.tunnel, buf, at);
  const { chunked, close, minor } = framing;
  if (chunked || close || minor === 0 || head.tunnel) {
    at = writeResponseHop(head, framing, buf, at);
  }
  return crlf(buf, at);
}

function writeResponseHop(
  head: ResponseHead,
  framing: ResponseFraming,
  buf: Uint8Array,
  at: number,
): number {
  if (framing.chunked) at = writeLatin1("transfer-encoding: chunked\r\n", buf, at);
  if (head.tunnel && head.status === 101) {
    at = writeLatin1("connection: upgrade\r\nupgrade: ", buf, at);
    at = writeLatin1(upgradeField(head), buf, at);
    at = crlf(buf, at);
  } else if (framing.close) at = writeLatin1("connection: close\r\n", buf, at);
  else if (framing.minor === 0) at = writeLatin1("connection: keep-alive\r\n", buf, at);
  return at;
}

/** Writes fields alone, with the empty line; framing and hop fields are left out. */
export function writeTrailers(head: Head, buf: Uint8Array, at: number): number {
  return crlf(buf, writeFields(head, true, buf, at));
}

/** Whether a response of this length is sent in chunks to a client of that version. */
export function mustChunk(bodyLength: number, minor: number): boolean {
  return minor === 1 && (bodyLength === CHUNKED || bodyLength === UNTIL_CLOSE);
}

function writeFields(
  head: Head,
  dropLength: boolean,
  buf: Uint8Array,
  at: number,
): number {
  const { buf: src, base, spans, marks, count, edits, known } = head;
  const edited = edits.length > 0;
  // Neighbours that both go through are copied in one piece, with their line ends.
  let runFrom = -1;
  let runTo = -1;
  for (let i = 0; i < count; i++) {
    const mark = (marks[i] as number) & FIELD_MARK;
    const drop = mark === FIELD_HOP || mark === FIELD_HOST || mark === FIELD_MESH ||
      (mark === FIELD_CONTENT_LENGTH && (dropLength || head.bodyLength === CHUNKED)) ||
      (edited && replaced(head, i));
    if (drop) continue;
    const field = known === null ? null : known[i] as Field | null;
    if (field !== null) {
      if (runFrom >= 0) at = copy(src, base + runFrom, base + runTo, buf, at);
      runFrom = -1;
      at = copy(field.line, 0, field.line.length, buf, at);
      continue;
    }
    const k = i * 4;
    const from = spans[k] as number;
    const valueTo = spans[k + 3] as number;
    if (runFrom >= 0 && from === runTo) {
      runTo = lineEnd(src, base, valueTo);
      continue;
    }
    if (runFrom >= 0) at = copy(src, base + runFrom, base + runTo, buf, at);
    runFrom = from;
    runTo = lineEnd(src, base, valueTo);
  }
  if (runFrom >= 0) at = copy(src, base + runFrom, base + runTo, buf, at);
  if (edited) at = writeEdits(edits, buf, at);
  return at;
}

/** The offset after a field's CR LF, past trailing white space. */
function lineEnd(src: Uint8Array, base: number, valueTo: number): number {
  while (src[base + valueTo] !== 10) valueTo++;
  return valueTo + 1;
}

/** Whether an edit takes the place of field `i`. */
export function replaced(head: Head, i: number): boolean {
  const field = head.known === null ? null : head.known[i] as Field | null;
  const k = i * 4;
  const length = field !== null
    ? field.nameTo
    : (head.spans[k + 1] as number) - (head.spans[k] as number);
  for (const edit of head.edits) {
    if (edit.op === "add" || edit.name.codec || length !== edit.name.bytes.length) continue;
    if (head.find(edit.name, i) === i) return true;
  }
  return false;
}

function writeEdits(edits: readonly HeaderEdit[], buf: Uint8Array, at: number): number {
  for (let i = 0; i < edits.length; i++) {
    const edit = edits[i] as HeaderEdit;
    if (edit.op === "remove" || edit.name.codec || overridden(edits, i)) continue;
    at = writeLatin1(edit.name.text, buf, at);
    buf[at++] = 58;
    buf[at++] = 32;
    at = writeLatin1(edit.value, buf, at);
    at = crlf(buf, at);
  }
  return at;
}

/** A later set or remove of the same name wins. */
export function overridden(edits: readonly HeaderEdit[], i: number): boolean {
  const name = (edits[i] as HeaderEdit).name;
  for (let k = i + 1; k < edits.length; k++) {
    const later = edits[k] as HeaderEdit;
    if (later.name === name && later.op !== "add") return true;
  }
  return false;
}

function crlf(buf: Uint8Array, at: number): number {
  buf[at] = 13;
  buf[at + 1] = 10;
  return at + 2;
}

function copy(src: Uint8Array, from: number, to: number, dst: Uint8Array, at: number): number {
  // A loop beats `set()` for the short parts that heads are made of.
  if (to - from < 48) {
    while (from < to) dst[at++] = src[from++] as number;
    return at;
  }
  dst.set(part(src, from, to), at);
  return at + to - from;
}
