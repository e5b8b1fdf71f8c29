// The one table of errors against Linkerd's, row by row, as HTTP/1.1, HTTP/2 and gRPC clients see it.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { type ErrorKind, MeshError, RETRYABLE } from "../../../src/core/errors.ts";
import type { ConnInfo } from "../../../src/core/exchange.ts";
import { latin1 } from "../../../src/core/intern.ts";
import {
  endsConnection,
  ERROR_ROOM,
  RESPONSES,
  writeError,
} from "../../../src/proxy/http/respond.ts";
import { writeErrorBlock } from "../../../src/proxy/http2/error-blocks.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";

const conn = (direction: ConnInfo["direction"]): ConnInfo => ({
  direction,
  remote: { ip: "127.0.0.1", port: 1 },
  target: { ip: "127.0.0.1", port: 2 },
  tls: null,
});

/** Linkerd's rows: status, gRPC code, and in which proxies the connection ends. */
const ROWS: Readonly<Record<string, readonly [ErrorKind, number, number, string]>> = {
  "no matching route": ["no-route", 404, 5, ""],
  "not authorized": ["unauthorized", 403, 7, ""],
  "fail-fast": ["failfast", 504, 4, "inbound outbound"],
  "load shed": ["overload", 503, 14, "inbound outbound"],
  "connect timeout to the application": ["connect-timeout", 504, 4, "inbound"],
  "I/O error: no connection": ["connect", 502, 14, "inbound"],
  "I/O error: closed": ["upstream-closed", 502, 14, "inbound"],
  "response, idle and request time-outs of a policy": ["response-timeout", 504, 4, ""],
  "time-out of a ServiceProfile": ["head-timeout", 504, 4, "inbound outbound"],
  "required identity missing": ["identity-required", 502, 14, "inbound outbound"],
  "backend without kind": ["no-backend", 502, 14, "inbound outbound"],
  "gateway: name not allowed": ["gateway-name", 404, 5, ""],
  "gateway: loop": ["gateway-loop", 508, 10, ""],
  "invalid policy": ["policy", 500, 13, ""],
  "anything else": ["internal", 500, 13, "inbound outbound"],
};

for (const [row, [kind, status, grpc, ends]] of Object.entries(ROWS)) {
  test(`${row}: ${status}, gRPC code ${grpc}, ends ${ends || "no connection"}`, () => {
    assert.is(RESPONSES[kind].status, status);
    assert.is(RESPONSES[kind].grpc, grpc);
    for (const direction of ["inbound", "outbound"] as const) {
      assert.is(endsConnection(kind, conn(direction)), ends.includes(direction), direction);
    }
  });
}

test("every kind of error has its place in both tables", () => {
  assert.equal(Object.keys(RESPONSES).sort(), Object.keys(RETRYABLE).sort());
  for (const { status, grpc } of Object.values(RESPONSES)) {
    assert.ok(status >= 400 && status <= 599 && grpc >= 1 && grpc <= 16);
  }
});

function http1(why: MeshError, options: Parameters<typeof writeError>[1]): string {
  const buf = new Uint8Array(ERROR_ROOM);
  return latin1(buf, 0, writeError(why, options, buf, 0));
}

const WHY = new MeshError("failfast", "No endpoint\r\nx: y of \u00fcber is ready");

test("an HTTP/1.1 client gets status, reason and no body, and the text if it may know it", () => {
  assert.is(
    http1(WHY, { text: false, close: true }),
    "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
  );
  assert.is(
    http1(WHY, { text: true, close: true, endPeer: true }),
    "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n" +
      "l5d-proxy-error: No endpoint??x: y of ?ber is ready\r\n" +
      "l5d-proxy-connection: close\r\nconnection: close\r\n\r\n",
  );
  // Who is told nothing of the proxy is told nothing of its connections either.
  assert.not.match(http1(WHY, { text: false, close: true, endPeer: true }), "l5d-");
});

/** The literal texts of a header block that was made by a fresh encoder. */
function http2(how: { grpc: boolean; tell: boolean; endPeer: boolean }): string {
  const buf = new Uint8Array(4096);
  return latin1(buf, 0, writeErrorBlock(new HpackEncoder(4096), WHY, how, buf, 0));
}

test("HTTP/2 and gRPC clients get the same in their own words", () => {
  const plain = http2({ grpc: false, tell: true, endPeer: true });
  assert.ok(plain.length > 20);
  const silent = http2({ grpc: false, tell: false, endPeer: true });
  assert.ok(silent.length < plain.length);
  assert.ok(http2({ grpc: true, tell: true, endPeer: false }).length > silent.length);
});

test.run();
