// Where an error becomes a response: one table for the status, one writer for the bytes.

import type { ErrorKind, MeshError } from "../../core/errors.ts";
import type { ConnInfo } from "../../core/exchange.ts";
import { writeLatin1 } from "../../core/intern.ts";

/** What becomes of a request that failed in one way. */
export interface ErrorResponse {
  readonly status: number;
  /** The code that a gRPC call ends with. */
  readonly grpc: number;
  /** Whether the client's connection ends with it; `inbound`: only in the server's proxy. */
  readonly close: boolean | "inbound";
}

/** The one table from an error to what the client gets: Linkerd's, where it has such an error. */
export const RESPONSES: Readonly<Record<ErrorKind, ErrorResponse>> = {
  "bad-request": { status: 400, grpc: 13, close: true }, // INTERNAL, as gRPC reads a 400
  "head-too-large": { status: 431, grpc: 8, close: true }, // RESOURCE_EXHAUSTED
  "unsupported": { status: 501, grpc: 12, close: true }, // UNIMPLEMENTED
  "no-route": { status: 404, grpc: 5, close: false }, // NOT_FOUND
  "no-service": { status: 404, grpc: 5, close: false },
  "unauthorized": { status: 403, grpc: 7, close: false }, // PERMISSION_DENIED
  "failfast": { status: 504, grpc: 4, close: true }, // DEADLINE_EXCEEDED
  "overload": { status: 503, grpc: 14, close: true }, // UNAVAILABLE
  "connect": { status: 502, grpc: 14, close: "inbound" },
  "connect-timeout": { status: 504, grpc: 4, close: "inbound" },
  "upstream-closed": { status: 502, grpc: 14, close: "inbound" },
  "upstream-protocol": { status: 502, grpc: 14, close: "inbound" },
  "identity": { status: 502, grpc: 14, close: false },
  "identity-required": { status: 502, grpc: 14, close: true },
  "no-backend": { status: 502, grpc: 14, close: true },
  "response-timeout": { status: 504, grpc: 4, close: false },
  "head-timeout": { status: 504, grpc: 4, close: true },
  "gateway-name": { status: 404, grpc: 5, close: false },
  "gateway-loop": { status: 508, grpc: 10, close: false }, // ABORTED
  "filter": { status: 503, grpc: 14, close: false },
  "policy": { status: 500, grpc: 13, close: false },
  "client-gone": { status: 499, grpc: 1, close: true }, // never sent: nobody is there
  "shutdown": { status: 503, grpc: 14, close: true },
  "internal": { status: 500, grpc: 13, close: true },
};

/** Whether the connection on which the request came ends with this error. */
export function endsConnection(kind: ErrorKind, conn: ConnInfo): boolean {
  const { close } = RESPONSES[kind];
  return close === "inbound" ? conn.direction === "inbound" : close;
}

/** RFC 9110 §15 and the registry: HTTP/2 carries none, so that they are written for it too. */
const REASONS: Readonly<Record<number, string>> = {
  100: "Continue",
  101: "Switching Protocols",
  103: "Early Hints",
  200: "OK",
  201: "Created",
  202: "Accepted",
  203: "Non-Authoritative Information",
  204: "No Content",
  205: "Reset Content",
  206: "Partial Content",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  508: "Loop Detected",
  511: "Network Authentication Required",
};

/** The reason phrase that is sent with a status made here. */
export function reasonOf(status: number): string {
  return REASONS[status] ?? "";
}

/** Room that `writeError` may need. */
export const ERROR_ROOM = 1024;

/**
 * Writes the whole response for an error. `text` adds `l5d-proxy-error`, which only a mesh peer or
 * the local application is told; `endPeer` adds `l5d-proxy-connection`, by which the other proxy ends its
 * client's connection. Returns where it ended.
 */
export function writeError(
  why: MeshError,
  options: { text: boolean; close: boolean; endPeer?: boolean; status?: number },
  buf: Uint8Array,
  at: number,
): number {
  const status = options.status ?? RESPONSES[why.kind].status;
  at = writeLatin1(`HTTP/1.1 ${status} ${reasonOf(status)}\r\ncontent-length: 0\r\n`, buf, at);
  if (options.text) {
    at = writeLatin1(`l5d-proxy-error: ${headerText(why.message)}\r\n`, buf, at);
    if (options.endPeer === true) at = writeLatin1("l5d-proxy-connection: close\r\n", buf, at);
  }
  if (options.close) at = writeLatin1("connection: close\r\n", buf, at);
  return writeLatin1("\r\n", buf, at);
}

/** Visible ASCII, bounded: what a message may put into a header. */
function headerText(message: string): string {
  const safe = message.replace(/[^\x20-\x7e]/g, "?");
  return safe.length <= 600 ? safe : safe.slice(0, 597) + "...";
}
