// A filter's answer to a gRPC call: the same answer as gRPC says it, in a head without a body
// ("trailers-only"), since gRPC clients do not look at statuses of HTTP.

import type { Exchange, LocalReply } from "../../core/exchange.ts";
import { isGrpc } from "./grpc.ts";

/** Codes by status: gRPC's mapping of HTTP statuses, but for 429 and redirects, as Linkerd has them. */
const CODES: Readonly<Record<number, number>> = {
  200: 0,
  400: 13, // INTERNAL
  401: 16, // UNAUTHENTICATED
  403: 7, // PERMISSION_DENIED
  404: 12, // UNIMPLEMENTED
  429: 8, // RESOURCE_EXHAUSTED
  502: 14, // UNAVAILABLE
  503: 14,
  504: 14,
};
const NOT_FOUND = 5;
const UNKNOWN = 2;

/** The answer as the client of `x` understands it. What says a code itself stays as it is. */
export function asClientSpeaks(x: Exchange, local: LocalReply): LocalReply {
  if (x.request.major !== 2 || !isGrpc(x.request)) return local;
  const own = local.headers.find(([name]) => name.toLowerCase() === "grpc-status");
  if (own !== undefined) {
    x.grpcStatus = /^\d{1,2}$/.test(own[1]) ? Number(own[1]) : UNKNOWN;
    return local;
  }
  const { status } = local;
  const code = CODES[status] ?? (status >= 300 && status < 400 ? NOT_FOUND : UNKNOWN);
  x.grpcStatus = code;
  const message = local.body.trim().replace(/[^\x20-\x7e]|%/g, "?").slice(0, 600);
  return {
    status: 200,
    headers: [
      ...local.headers.filter(([name]) => name.toLowerCase() !== "content-type"),
      ["content-type", "application/grpc"],
      ["grpc-status", String(code)],
      ...(message === "" ? [] : [["grpc-message", message] as const]),
    ],
    body: "",
  };
}
