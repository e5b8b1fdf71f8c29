// Failure injector: answers a share of the requests with a failure.

import {
  Action,
  config,
  CONTINUE,
  counter,
  lend,
  length,
  random,
  reply,
  replyHeader,
} from "@tulle/filter";

const status = config.int("status", 500, 200, 599);
const grpcStatus = config.int("grpcStatus", -1, -1, 16);
const message = config.text("message", "");
const ratio = config.number("ratio", 1, 0, 1);

const injected = counter({
  name: "failures_injected_total",
  help: "Requests answered with a failure",
});

export function onRequest(): Action {
  if (ratio < 1 && random() >= ratio) return CONTINUE;
  injected.inc();
  if (grpcStatus < 0) return reply(status, message);
  replyHeader("content-type", "application/grpc");
  replyHeader("grpc-status", lend(grpcStatus.toString()));
  if (length(message) > 0) replyHeader("grpc-message", message);
  return reply(200, null);
}
