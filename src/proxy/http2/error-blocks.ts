// Where an error becomes an HTTP/2 response: the status of the one table (http/respond.ts), or for gRPC
// a response of trailers only (gRPC over HTTP/2, "Trailers-Only") with the code that belongs to it.

import type { ErrorKind, MeshError } from "../../core/errors.ts";
import { RESPONSES } from "../http/respond.ts";
import { type HpackEncoder, INDEX, NO_INDEX } from "./hpack.ts";
import { writeField, writeStatus } from "./write-heads.ts";

/** The gRPC status of each kind of error. */
export const GRPC_CODES: Readonly<Record<ErrorKind, number>> = {
  "bad-request": 13, // INTERNAL, as gRPC reads a 400
  "head-too-large": 8, // RESOURCE_EXHAUSTED
  "unsupported": 12, // UNIMPLEMENTED
  "no-route": 5, // NOT_FOUND
  "no-service": 5,
  "unauthorized": 7, // PERMISSION_DENIED
  "failfast": 4, // DEADLINE_EXCEEDED
  "overload": 14, // UNAVAILABLE
  "connect": 14,
  "connect-timeout": 4,
  "upstream-closed": 14,
  "upstream-protocol": 14,
  "identity": 14,
  "response-timeout": 4,
  "filter": 14,
  "policy": 13,
  "client-gone": 1, // CANCELLED
  "shutdown": 14,
  "internal": 13,
};

/** A message's bytes in a field, percent-encoded ones included. */
const MAX_TEXT = 600;

/** Room that the two writers may need. */
export function errorBlockRoom(why: MeshError): number {
  return 512 + 6 * Math.min(MAX_TEXT, why.message.length);
}

/** A whole response; the end. `tell`: with the error's text. */
export function writeErrorBlock(
  encoder: HpackEncoder,
  why: MeshError,
  how: { readonly grpc: boolean; readonly tell: boolean },
  dst: Uint8Array,
  at: number,
): number {
  if (how.grpc) {
    at = writeStatus(encoder, 200, dst, at);
    at = writeField(encoder, "content-type", "application/grpc", INDEX, dst, at);
    at = writeGrpcStatus(encoder, why, how.tell, dst, at);
  } else {
    at = writeStatus(encoder, RESPONSES[why.kind].status, dst, at);
    at = writeField(encoder, "content-length", "0", INDEX, dst, at);
  }
  if (!how.tell) return at;
  return writeField(encoder, "l5d-proxy-error", visible(why.message), NO_INDEX, dst, at);
}

/** `grpc-status` and `grpc-message`; the end. */
export function writeGrpcStatus(
  encoder: HpackEncoder,
  why: MeshError,
  tell: boolean,
  dst: Uint8Array,
  at: number,
): number {
  at = writeField(encoder, "grpc-status", String(GRPC_CODES[why.kind]), INDEX, dst, at);
  if (!tell) return at;
  const text = visible(why.message).replaceAll("%", "%25");
  return writeField(encoder, "grpc-message", text, NO_INDEX, dst, at);
}

/** Visible ASCII, bounded. */
function visible(message: string): string {
  const safe = message.replace(/[^\x20-\x7e]/g, "?").trim();
  return safe.length <= MAX_TEXT ? safe : safe.slice(0, MAX_TEXT - 3) + "...";
}
