// What is known of an attempt that is over: for filters, for metrics, for the client's connection. Pure but
// for the counting; `attempts.ts` says when.

import type { ErrorKind } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { OUTCOME_CONNECT, OUTCOME_RESET } from "../../core/filter.ts";
import { headerName, type ResponseHead } from "../../core/head.ts";
import { isFailure } from "../../model/route.ts";
import type { BackendSeries } from "../metrics/backends.ts";
import type { StreamError } from "../metrics/errors.ts";
import type { RouteState } from "./target.ts";

const PROXY_CONNECTION = headerName("l5d-proxy-connection");

/** The endpoint's proxy failed the request in a way that ends connections (`http/respond.ts`). */
export function endsClient(head: ResponseHead): boolean {
  const i = head.find(PROXY_CONNECTION);
  return i >= 0 && head.valueAt(i) === "close";
}

/** What filters are told of an error. */
export function outcomeBit(kind: ErrorKind): number {
  return kind === "connect" || kind === "connect-timeout" || kind === "identity" ||
      kind === "failfast"
    ? OUTCOME_CONNECT
    : OUTCOME_RESET;
}

/** Counts an attempt that is over at its backend, once; `status` 0: there was no response. */
export function settle(
  x: Exchange | null,
  status: number,
  error: StreamError,
  nowMs: number,
): void {
  const backend = x === null ? null : x.backend as BackendSeries | null;
  if (x === null || backend === null) return;
  x.backend = null;
  const responseMs = x.requestEndedMs === 0 ? -1 : nowMs - x.requestEndedMs;
  backend.ended(status, x.grpcStatus, error, responseMs);
}

/** Filters want no retry: counted where the route has made as many as it allows. */
export function countLimit(x: Exchange, { route, policy }: RouteState, status: number): void {
  const failed = status === 0 || isFailure(status, route.responseClasses);
  if (failed && route.retry !== null && x.attempt >= route.retry.maxRetries) {
    policy?.retry("limit_exceeded");
  }
}
