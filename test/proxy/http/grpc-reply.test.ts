import { test } from "uvu";
import * as assert from "uvu/assert";
import { asClientSpeaks } from "../../../src/proxy/http/grpc-reply.ts";
import { exchange } from "../../wasm/support.ts";

function call(type = "application/grpc", major = 2) {
  const x = exchange(`POST /a.B/C HTTP/1.1\nhost: web\ncontent-type: ${type}`);
  x.request.major = major;
  return x;
}
const code = (status: number) => {
  const x = call();
  const reply = asClientSpeaks(x, { status, headers: [], body: "" });
  assert.is(reply.status, 200);
  assert.is(x.grpcStatus, Number(Object.fromEntries(reply.headers)["grpc-status"]));
  return x.grpcStatus;
};

test("an answer of a filter to a gRPC call has a code instead of a status", () => {
  const codes = [[403, 7], [429, 8], [401, 16], [503, 14], [404, 12], [301, 5], [308, 5], [418, 2]];
  for (const [status, want] of codes) assert.is(code(status!), want, `${status}`);
});

test("its headers and its text stay, the text on one line", () => {
  const reply = asClientSpeaks(call(), {
    status: 429,
    headers: [["retry-after", "1"], ["Content-Type", "text/plain"]],
    body: "100 % too m\u00e4ny\n",
  });
  assert.equal(reply, {
    status: 200,
    headers: [
      ["retry-after", "1"],
      ["content-type", "application/grpc"],
      ["grpc-status", "8"],
      ["grpc-message", "100 ? too m?ny"],
    ],
    body: "",
  });
});

test("an answer with a code of its own, and those to other clients, stay as they are", () => {
  const own = { status: 200, headers: [["grpc-status", "9"] as const], body: "" };
  const x = call();
  assert.is(asClientSpeaks(x, own), own);
  assert.is(x.grpcStatus, 9);
  const plain = { status: 403, headers: [], body: "no" };
  assert.is(asClientSpeaks(call("application/grpc-web"), plain), plain);
  assert.is(asClientSpeaks(call("application/grpc", 1), plain), plain);
  assert.is(asClientSpeaks(call("text/plain"), plain), plain);
});

test.run();
