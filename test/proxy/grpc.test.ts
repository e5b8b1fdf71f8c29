import { test } from "uvu";
import * as assert from "uvu/assert";
import { ResponseHead } from "../../src/core/head.ts";
import { grpcStatusOf, isGrpc, isGrpcFailure, NO_GRPC_STATUS } from "../../src/proxy/http/grpc.ts";
import { parseResponse } from "../../src/proxy/http1/parse.ts";

function head(...fields: string[]): ResponseHead {
  const made = new ResponseHead();
  const text = ["HTTP/1.1 200 OK", ...fields, "", ""].join("\r\n");
  const buf = Uint8Array.from(text, (c) => c.charCodeAt(0));
  assert.is(parseResponse(made, buf, 0, buf.length, 65536, false, false), buf.length);
  return made;
}

test("isGrpc() knows the content type, its suffix and its parameters, and not gRPC-web", () => {
  for (
    const [type, is] of [
      ["application/grpc", true],
      ["application/grpc+proto", true],
      ["application/grpc; charset=utf-8", true],
      ["application/grpc-web", false],
      ["application/grpcx", false],
      ["application/json", false],
    ] as const
  ) {
    assert.is(isGrpc(head(`content-type: ${type}`)), is, type);
  }
  assert.not(isGrpc(head()));
});

test("grpcStatusOf() reads a code, and what is none as UNKNOWN", () => {
  assert.is(grpcStatusOf(null), NO_GRPC_STATUS);
  assert.is(grpcStatusOf(head()), NO_GRPC_STATUS);
  assert.is(grpcStatusOf(head("grpc-status: 0")), 0);
  assert.is(grpcStatusOf(head("grpc-status: 14")), 14);
  for (const bad of ["-1", "x", "1e1", ""]) assert.is(grpcStatusOf(head(`grpc-status: ${bad}`)), 2);
});

test("isGrpcFailure() counts the six codes that are a server's doing", () => {
  const failures = Array.from({ length: 34 }, (_, i) => i - 1).filter(isGrpcFailure);
  assert.equal(failures, [2, 4, 7, 13, 14, 15]);
});

test.run();
