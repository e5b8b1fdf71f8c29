// What metrics call an error: Linkerd's names where it has one, else the kind's own. Error rate.

import type { ErrorKind, MeshError } from "../../core/errors.ts";

/** `error` of `*_http_errors_total`; null: it is counted elsewhere (policy) or is nobody's error. */
export const HTTP_ERRORS: Readonly<Record<ErrorKind, string | null>> = {
  "bad-request": "bad-request",
  "head-too-large": "head-too-large",
  "unsupported": "unsupported",
  "no-route": "no-route",
  "no-service": "no-service",
  "unauthorized": null,
  "failfast": "failfast",
  "overload": "loadshed",
  "connect": "i/o",
  "connect-timeout": "i/o",
  "upstream-closed": "i/o",
  "upstream-protocol": "upstream-protocol",
  "identity": "identity required",
  "response-timeout": "response timeout",
  "head-timeout": "response timeout",
  "identity-required": "identity required",
  "no-backend": "no-backend",
  "gateway-name": "gateway domain invalid",
  "gateway-loop": "gateway loop",
  "filter": "filter",
  "policy": "policy",
  "client-gone": null,
  "shutdown": "shutdown",
  "internal": "unexpected",
};

/** `error` of the route and backend families (`outbound_http_route_…`), as Linkerd writes them. */
export type StreamError =
  | ""
  | "FAIL_FAST"
  | "LOAD_SHED"
  | "REQUEST_TIMEOUT"
  | "RESPONSE_HEADERS_TIMEOUT"
  | "RESPONSE_STREAM_TIMEOUT"
  | "IDLE_TIMEOUT"
  | "CANCEL"
  | "REFUSED"
  | "ENHANCE_YOUR_CALM"
  | "RESET"
  | "GO_AWAY"
  | "IO"
  | "UNKNOWN";

/** HTTP/2's codes that have a name of their own (RFC 9113 §7). */
const RESETS: ReadonlyMap<number, StreamError> = new Map([
  [7, "REFUSED"],
  [8, "CANCEL"],
  [11, "ENHANCE_YOUR_CALM"],
]);

/** What ended a request that has no whole response. */
export function streamError(why: MeshError): StreamError {
  if (why.reset !== null) return RESETS.get(why.reset) ?? "RESET";
  switch (why.kind) {
    case "failfast":
      return "FAIL_FAST";
    case "overload":
      return "LOAD_SHED";
    case "response-timeout":
      return why.timeout === null ? "REQUEST_TIMEOUT" : TIMEOUTS[why.timeout];
    case "head-timeout":
      return "REQUEST_TIMEOUT";
    case "client-gone":
      return "CANCEL";
    case "connect":
    case "connect-timeout":
    case "upstream-closed":
      return "IO";
    default:
      return "UNKNOWN";
  }
}

const TIMEOUTS = {
  request: "REQUEST_TIMEOUT",
  headers: "RESPONSE_HEADERS_TIMEOUT",
  response: "RESPONSE_STREAM_TIMEOUT",
  idle: "IDLE_TIMEOUT",
} as const;
