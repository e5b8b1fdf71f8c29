// Where an error becomes an HTTP/2 response: status and code are of the one table (http/respond.ts); a
// gRPC call gets a response of trailers only (gRPC over HTTP/2, "Trailers-Only").

import type { MeshError } from "../../core/errors.ts";
import { RESPONSES } from "../http/respond.ts";
import { INDEX, NO_INDEX } from "./field-rules.ts";
import type { HpackEncoder } from "./hpack-encoder.ts";
import { writeField, writeStatus } from "./write-heads.ts";

/** A message's bytes in a field, percent-encoded ones included. */
const MAX_TEXT = 600;

/** Room that the two writers may need. */
export function errorBlockRoom(why: MeshError): number {
  return 512 + 6 * Math.min(MAX_TEXT, why.message.length);
}

/** A whole response; the end. `tell`: with the error's text, `endPeer`: the other proxy ends its client. */
export function writeErrorBlock(
  encoder: HpackEncoder,
  why: MeshError,
  how: { readonly grpc: boolean; readonly tell: boolean; readonly endPeer: boolean },
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
  if (how.endPeer) at = writeField(encoder, "l5d-proxy-connection", "close", INDEX, dst, at);
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
  at = writeField(encoder, "grpc-status", String(RESPONSES[why.kind].grpc), INDEX, dst, at);
  if (!tell) return at;
  const text = visible(why.message).replaceAll("%", "%25");
  return writeField(encoder, "grpc-message", text, NO_INDEX, dst, at);
}

/** Visible ASCII, bounded. */
function visible(message: string): string {
  const safe = message.replace(/[^\x20-\x7e]/g, "?").trim();
  return safe.length <= MAX_TEXT ? safe : safe.slice(0, MAX_TEXT - 3) + "...";
}
