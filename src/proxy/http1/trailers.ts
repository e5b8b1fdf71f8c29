// Trailers of chunked messages (RFC 9112 §7.1.2), both ways: fields after the body, read as a head
// without a first line of its own. Responses' are written for clients that asked for them with
// `TE: trailers`. What belongs to one hop or to framing is never forwarded (RFC 9110 §6.5.1).

import type { Chan, Driver } from "../../core/driver.ts";
import { type Head, ResponseHead } from "../../core/head.ts";
import { headRoom, writeTrailers } from "./encode.ts";
import { parseResponse } from "./parse.ts";

const PREFIX = new TextEncoder().encode("HTTP/1.1 200 OK\r\n");

/** Fields with their line ends; null: there are none, or they are not well-formed. */
export function parseTrailers(fields: readonly number[]): ResponseHead | null {
  if (fields.length === 0) return null;
  const bytes = new Uint8Array(PREFIX.length + fields.length + 2);
  bytes.set(PREFIX);
  bytes.set(fields, PREFIX.length);
  bytes.set([13, 10], bytes.length - 2);
  const head = new ResponseHead();
  const n = parseResponse(head, bytes, 0, bytes.length, bytes.length, false, false);
  return n === bytes.length ? head : null;
}

/** Ends a chunked body with trailers. */
export function sendTrailers(driver: Driver, ch: Chan, trailers: Head): void {
  const out = driver.reserve(ch, headRoom(trailers));
  const at = out.at;
  out.buf.set([48, 13, 10], at);
  driver.commit(ch, writeTrailers(trailers, out.buf, at + 3) - at);
}
