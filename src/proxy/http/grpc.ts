// What a proxy must know of gRPC: that a message is, how a call ended, and which ends are failures of
// the endpoint. Below the stacks, beside the codecs; knows no messages.

import { type Head, headerName } from "../../core/head.ts";

const CONTENT_TYPE = headerName("content-type");
const GRPC_STATUS = headerName("grpc-status");
const GRPC = "application/grpc";

/** `grpc-status` was not there. */
export const NO_GRPC_STATUS = -1;

/**
 * Codes that count as failures of a server (Linkerd's default), as bits: UNKNOWN, DEADLINE_EXCEEDED,
 * PERMISSION_DENIED, INTERNAL, UNAVAILABLE, DATA_LOSS. The others are the caller's doing.
 */
const FAILURES = 1 << 2 | 1 << 4 | 1 << 7 | 1 << 13 | 1 << 14 | 1 << 15;

/** Whether a head is of gRPC over HTTP/2: `application/grpc`, with or without `+proto` or parameters. */
export function isGrpc(head: Head): boolean {
  const type = head.get(CONTENT_TYPE);
  if (type === null || !type.startsWith(GRPC)) return false;
  const next = type[GRPC.length];
  return next === undefined || next === "+" || next === ";"; // and not `-web`
}

/** The code in a response's trailers, or in its head when there is nothing else; `NO_GRPC_STATUS`. */
export function grpcStatusOf(head: Head | null): number {
  const text = head?.get(GRPC_STATUS) ?? null;
  // what is no number of the protocol counts as UNKNOWN
  return text === null ? NO_GRPC_STATUS : /^\d{1,3}$/.test(text) ? Number(text) : 2;
}

/** Whether a call that ended with this code failed. `NO_GRPC_STATUS` did not. */
export function isGrpcFailure(code: number): boolean {
  return code > 0 && code < 16 && (FAILURES >>> code & 1) === 1;
}
