// Failure injector: answers a share of the requests with a failure.

import {
  Action,
  byteAt,
  config,
  CONTINUE,
  counter,
  lend,
  length,
  random,
  reply,
  replyHeader,
  request,
  startsWith,
  Text,
} from "@tulle/filter";

const status = config.int("status", 500, 200, 599);
const grpcStatus = config.int("grpcStatus", -1, -1, 16);
const message = config.text("message", "");
const ratio = config.number("ratio", 1, 0, 1);

const FAILED_PRECONDITION = 9;

const injected = counter({
  name: "failures_injected_total",
  help: "Requests answered with a failure",
});

export function onRequest(): Action {
  if (ratio < 1 && random() >= ratio) return CONTINUE;
  injected.inc();
  // A route of HTTP has no code: a gRPC call on it failed before it was made.
  if (grpcStatus < 0 && !isGrpc(request.header("content-type"))) return reply(status, message);
  replyHeader("content-type", "application/grpc");
  replyHeader("grpc-status", lend((grpcStatus < 0 ? FAILED_PRECONDITION : grpcStatus).toString()));
  if (length(message) > 0) replyHeader("grpc-message", message);
  return reply(200, null);
}

/** `application/grpc`, with a format or parameters or without; not `application/grpc-web`. */
function isGrpc(type: Text): bool {
  if (!startsWith(type, "application/grpc")) return false;
  const next = byteAt(type, 16);
  return next == -1 || next == 0x2b || next == 0x3b;
}
