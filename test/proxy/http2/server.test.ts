// Requests of HTTP/2 clients as the service sees them, and replies as clients see them.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { MeshError } from "../../../src/core/errors.ts";
import { headerName } from "../../../src/core/head.ts";
import * as f from "../../../src/proxy/http2/frames.ts";
import { turn } from "../../support/memory-driver.ts";
import { body, codeOf, type Fields, GET, POST, u32 } from "./raw-peer.ts";
import { responseHead, server } from "./server-fixture.ts";

const END = f.END_STREAM;

test("a request reaches the service, and its response the client", () => {
  const s = server();
  s.peer.hello().headers(1, [...GET, ["x-a", "1"], ["cookie", "a=1"], ["cookie", "b=2"]]);
  const call = s.call(0);
  assert.is(call.line, "GET a.test /");
  assert.is(call.ends, 1);
  assert.is(call.x.request.get(headerName("x-a")), "1");
  assert.is(call.x.request.get(headerName("cookie")), "a=1; b=2");
  assert.is(call.x.request.major, 2);
  assert.is(s.inFlight.count, 1);
  call.answer("hello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-B: 2\r\nConnection: close");
  const got = s.peer.take();
  assert.equal(got.map((g) => g.type), [f.HEADERS, f.DATA]);
  assert.equal(got[0]!.fields, { ":status": "200", "content-length": "5", "x-b": "2" });
  assert.is(got[1]!.flags & END, END);
  assert.is(body(got, 1), "hello");
  assert.is(s.inFlight.count, 0);
  assert.is(s.ended.length, 1);
  assert.is(s.server.session.streams, 0);
});

test("a response without a body ends with its head, and one that is answered at once too", () => {
  const s = server({ serve: (call) => call.answer("") });
  s.peer.hello().headers(1, GET).headers(3, GET);
  const got = s.peer.only(f.HEADERS);
  assert.equal(got.map((g) => [g.stream, g.flags & END]), [[1, END], [3, END]]);
  assert.is(s.ended.length, 2);
});

test("bodies and trailers pass in both directions, and 1xx before them", () => {
  const s = server();
  s.peer.hello().headers(1, [...POST, ["te", "trailers"]], false);
  const call = s.call(0);
  assert.is(call.x.request.bodyLength, -1);
  assert.ok(call.x.request.wantsTrailers);
  s.peer.data(1, "abc").data(1, "def").headers(1, [["x-sum", "7"]]);
  assert.is(call.body, "abcdef");
  assert.is(call.ends, 1);
  assert.is(call.x.requestTrailers?.get(headerName("x-sum")), "7");
  call.reply.informational(responseHead("HTTP/1.1 103 Early Hints\r\nlink: </a>"));
  call.reply.head(responseHead("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"));
  call.send("xyz");
  call.x.trailers = responseHead("HTTP/1.1 200 OK\r\ngrpc-status: 0\r\nConnection: x");
  call.reply.end();
  const got = s.peer.take();
  assert.equal(got.map((g) => g.type), [f.HEADERS, f.HEADERS, f.DATA, f.HEADERS]);
  assert.equal(got[0]!.fields, { ":status": "103", link: "</a>" });
  assert.equal(got[1]!.fields, { ":status": "200" });
  assert.equal(got[3]!.fields, { "grpc-status": "0" });
  assert.is(got[3]!.flags & END, END);
  assert.is(s.inFlight.count, 0);
});

test("malformed requests are reset, counted, and never reach the service", () => {
  const without = (name: string) => GET.filter(([n]) => n !== name);
  const bad: Record<string, Fields> = {
    "an upper-case name": [...GET, ["X-A", "1"]],
    "an empty name": [...GET, ["", "1"]],
    "a name with a space": [...GET, ["x a", "1"]],
    "a line end in a value": [...GET, ["x-a", "1\r\nx: 2"]],
    "a NUL in a value": [...GET, ["x-a", "1\0"]],
    "a space before a value": [...GET, ["x-a", " 1"]],
    "connection": [...GET, ["connection", "x"]],
    "keep-alive": [...GET, ["keep-alive", "1"]],
    "proxy-connection": [...GET, ["proxy-connection", "x"]],
    "transfer-encoding": [...GET, ["transfer-encoding", "chunked"]],
    "upgrade": [...GET, ["upgrade", "h2c"]],
    "te beside trailers": [...GET, ["te", "gzip"]],
    "no method": without(":method"),
    "no scheme": without(":scheme"),
    "no path": without(":path"),
    "no authority at all": without(":authority"),
    "two paths": [...GET, [":path", "/b"]],
    "a pseudo-header after a field": [["x-a", "1"], ...GET],
    "an unknown pseudo-header": [...GET, [":x", "1"]],
    "a response's pseudo-header": [...GET, [":status", "200"]],
    "an empty path": [...without(":path"), [":path", ""]],
    "a path that is none": [...without(":path"), [":path", "b"]],
    "a space in the path": [...without(":path"), [":path", "/ HTTP/1.1"]],
    "userinfo in the authority": [...without(":authority"), [":authority", "u@a.test"]],
    "another scheme": [...without(":scheme"), [":scheme", "ftp"]],
    "another host": [...GET, ["host", "b.test"]],
    "two lengths": [...GET, ["content-length", "0"], ["content-length", "0"]],
    "a length that is none": [...GET, ["content-length", "+1"]],
    "a length without a body": [...GET, ["content-length", "1"]],
    "an expectation of something else": [...GET, ["expect", "200-ok"]],
    "CONNECT with a path": [[":method", "CONNECT"], [":authority", "a:1"], [":path", "/"]],
  };
  const s = server();
  s.peer.hello();
  let stream = 1;
  for (const [what, fields] of Object.entries(bad)) {
    s.peer.headers(stream, fields);
    const [reset, ...more] = s.peer.take();
    assert.is(reset?.type, f.RST_STREAM, what);
    assert.is(codeOf(reset), f.PROTOCOL_ERROR, what);
    assert.is(more.length, 0, what);
    stream += 2;
  }
  assert.is(s.calls.length, 0);
  assert.is(s.refused.length, Object.keys(bad).length);
  assert.ok(s.refused.every((e) => e.kind === "bad-request"));
  // The table followed all of it, and the connection goes on.
  s.peer.headers(stream, [...GET, ["host", "a.test"]]);
  assert.is(s.calls.length, 1);
});

test("a body that is not as long as it was declared is refused", () => {
  for (const [declared, sent] of [["3", "ab"], ["3", "abcd"]] as const) {
    const s = server();
    s.peer.hello().headers(1, [...POST, ["content-length", declared]], false).data(1, sent, true);
    assert.is(codeOf(s.peer.only(f.RST_STREAM)[0]), f.PROTOCOL_ERROR);
    assert.is(s.call(0).aborted?.kind, "bad-request");
    assert.is(s.inFlight.count, 0);
  }
});

test("a head over the bound is 431, whether its bytes or its fields are too many", () => {
  const s = server({ maxHeadBytes: 8192 });
  s.peer.hello().headers(1, [...GET, ["x-a", "x".repeat(9000)]]);
  s.peer.headers(3, [...GET, ...Array.from({ length: 200 }, (_, i) => [`x-${i}`, "1"] as const)]);
  const got = s.peer.only(f.HEADERS);
  assert.equal(got.map((g) => g.fields[":status"]), ["431", "431"]);
  assert.equal(s.refused.map((e) => e.kind), ["head-too-large", "head-too-large"]);
  s.peer.headers(5, GET);
  assert.is(s.calls.length, 1);
});

test("a block that is larger than a frame goes out with CONTINUATION", () => {
  const s = server();
  s.peer.hello().headers(1, GET);
  const value = "0123456789abcdef".repeat(2500);
  s.call(0).answer("", `HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-long: ${value}`);
  const raw = s.peer.peer.sent;
  assert.ok(raw.length > f.DEFAULT_MAX_FRAME_BYTES);
  const [head] = s.peer.only(f.HEADERS);
  assert.is(head?.fields["x-long"], value);
  assert.is(head!.flags & f.END_HEADERS, f.END_HEADERS);
});

test("the client gets window only for what the sink took", () => {
  const s = server({ streamWindowBytes: 65_535, connectionWindowBytes: 65_535 });
  s.peer.hello().headers(1, POST, false);
  const call = s.call(0);
  call.ready = false;
  for (let i = 0; i < 3; i++) s.peer.data(1, 16_000);
  assert.equal(s.peer.only(f.WINDOW_UPDATE), []);
  assert.is(call.body.length, 16_000); // the rest is held until it may go on
  call.ready = true;
  call.wake?.();
  assert.is(call.body.length, 48_000);
  const updates = s.peer.only(f.WINDOW_UPDATE);
  assert.equal(updates.map((u) => u.stream).sort(), [0, 1]);
  for (const u of updates) assert.is(f.readU32(u.payload, 0), 48_000);
  s.peer.data(1, "", true);
  assert.is(call.ends, 1);
});

test("an end that comes while the sink is stopped is told after what was held", () => {
  const s = server();
  s.peer.hello().headers(1, POST, false);
  const call = s.call(0);
  call.ready = false;
  s.peer.data(1, "abc").data(1, "def").headers(1, [["x-sum", "1"]]);
  assert.is(call.ends, 0);
  call.ready = true;
  call.wake?.();
  assert.is(call.body, "abcdef");
  assert.is(call.ends, 1);
  assert.is(call.x.requestTrailers?.get(headerName("x-sum")), "1");
});

test("what a stream that ended had not passed on is given back to the connection", () => {
  const s = server({ connectionWindowBytes: 65_535 });
  s.peer.hello();
  for (let i = 0; i < 20; i++) {
    const id = 2 * i + 1;
    s.peer.headers(id, POST, false);
    s.call(i).ready = false;
    s.peer.data(id, 10_000).data(id, 10_000).rst(id);
  }
  // 400,000 bytes came over a window of 65,535: none of it was lost.
  assert.equal(s.peer.only(f.GOAWAY), []);
  assert.is(s.peer.peer.shutdown, false);
});

test("more than the window is a flow-control error, of the stream or of the connection", () => {
  const s = server({ streamWindowBytes: 20_000 });
  s.peer.hello().headers(1, POST, false);
  s.call(0).ready = false;
  s.peer.data(1, 16_000).data(1, 16_000);
  assert.is(codeOf(s.peer.only(f.RST_STREAM)[0]), f.FLOW_CONTROL_ERROR);
  const t = server({ streamWindowBytes: 1_000_000, connectionWindowBytes: 65_535 });
  t.peer.hello().headers(1, POST, false);
  t.call(0).ready = false;
  for (let i = 0; i < 5; i++) t.peer.data(1, 16_000);
  assert.is(codeOf(t.peer.only(f.GOAWAY)[0]), f.FLOW_CONTROL_ERROR);
});

test("bytes wait for the client's window, and its sender is woken when they are out", () => {
  const s = server();
  s.peer.hello([0, f.INITIAL_WINDOW_SIZE, ...u32(10)]).headers(1, GET);
  const call = s.call(0);
  let woken = 0;
  call.answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
  call.reply.wake = () => woken++;
  assert.is(call.send("0123456789abcdef"), false);
  assert.is(body(s.peer.take(), 1), "0123456789");
  s.peer.window(1, 4);
  assert.is(body(s.peer.take(), 1), "abcd");
  assert.is(woken, 0);
  s.peer.window(1, 100);
  assert.is(body(s.peer.take(), 1), "ef");
  assert.is(woken, 1);
  call.reply.end();
  const [last] = s.peer.take();
  assert.equal([last?.type, last?.payload.length, last!.flags & END], [f.DATA, 0, END]);
});

test("trailers and ends wait for the bytes before them", () => {
  const s = server();
  s.peer.hello([0, f.INITIAL_WINDOW_SIZE, ...u32(0)]).headers(1, GET).headers(3, GET);
  const [a, b] = [s.call(0), s.call(1)];
  for (const call of [a, b]) {
    call.answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
    call.send("abc");
  }
  a.x.trailers = responseHead("HTTP/1.1 200 OK\r\nx-t: 1");
  a.reply.end();
  b.reply.end();
  assert.equal(s.peer.take().map((g) => g.type), [f.HEADERS, f.HEADERS]);
  assert.is(s.inFlight.count, 2);
  s.peer.window(1, 3).window(3, 3);
  const got = s.peer.take();
  assert.equal(
    got.map((g) => [g.stream, g.type, g.flags & END]),
    [[1, f.DATA, 0], [1, f.HEADERS, END], [3, f.DATA, END]],
  );
  assert.is(s.inFlight.count, 0);
});

test("when the connection's window is short, streams take turns frame by frame", () => {
  const s = server();
  s.peer.hello([0, f.INITIAL_WINDOW_SIZE, ...u32(1_000_000)]);
  s.peer.headers(1, GET).headers(3, GET).headers(5, GET);
  for (const call of s.calls) {
    call.answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
    call.send("x".repeat(100_000));
  }
  s.peer.take();
  s.peer.window(0, 16_384 * 6);
  const order = s.peer.only(f.DATA).map((g) => g.stream);
  assert.equal(order.length, 6);
  for (const id of [1, 3, 5]) assert.is(order.filter((o) => o === id).length, 2, order.join());
});

test("a full channel stops senders, and wakes them when it is not", async () => {
  const s = server();
  s.peer.hello().headers(1, GET);
  const call = s.call(0);
  call.answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
  let woken = 0;
  call.reply.wake = () => woken++;
  s.peer.peer.full = true;
  assert.is(call.send("abc"), false);
  assert.is(call.send("def"), false); // taken all the same
  s.driver.drain(s.peer.peer);
  await turn();
  assert.is(woken, 1);
  assert.is(body(s.peer.take(), 1), "abcdef");
});

test("CONNECT is a tunnel: nothing passes before it is open, and each side ends by itself", () => {
  const s = server();
  s.peer.hello().headers(1, [[":method", "CONNECT"], [":authority", "db.test:5432"]], false);
  const call = s.call(0);
  assert.is(call.line, "CONNECT db.test:5432 db.test:5432");
  assert.ok(call.x.request.isConnect);
  s.peer.data(1, "early");
  assert.is(call.body, "");
  call.reply.head(responseHead("HTTP/1.1 200 OK", true));
  assert.is(call.body, "early");
  call.send("down");
  s.peer.data(1, " up", true);
  assert.is(call.body, "early up");
  assert.is(call.ends, 2); // of the request, and of the tunnel
  assert.is(s.inFlight.count, 1);
  call.send("!");
  call.reply.end();
  const got = s.peer.take();
  assert.is(body(got, 1), "down!");
  assert.equal(got.filter((g) => g.type === f.RST_STREAM), []);
  assert.is(s.inFlight.count, 0);
  // the other way round
  s.peer.headers(3, [[":method", "CONNECT"], [":authority", "db.test:5432"]], false);
  const other = s.call(1);
  other.reply.head(responseHead("HTTP/1.1 200 OK", true));
  other.reply.end();
  assert.is(s.inFlight.count, 1);
  s.peer.data(3, "late", true);
  assert.is(other.body, "late");
  assert.is(s.inFlight.count, 0);
});

test("a client's reset aborts the request with its code; others go on", () => {
  const s = server();
  s.peer.hello().headers(1, POST, false).headers(3, GET).rst(1, f.CANCEL);
  assert.is(s.call(0).aborted?.kind, "client-gone");
  assert.is(s.call(0).aborted?.reset, f.CANCEL);
  assert.is(s.inFlight.count, 1);
  s.call(1).answer("ok");
  assert.is(body(s.peer.take(), 3), "ok");
});

test("a connection that goes away aborts all of its requests", () => {
  const s = server();
  s.peer.hello().headers(1, POST, false).headers(3, GET);
  s.driver.fail(s.peer.peer, { kind: "reset", message: "ECONNRESET" });
  assert.equal(s.calls.map((c) => c.aborted?.kind), ["client-gone", "client-gone"]);
  assert.is(s.inFlight.count, 0);
  assert.ok(s.gone());
});

test("an answer before the request's end stops the rest of it without an error", () => {
  const s = server();
  s.peer.hello().headers(1, POST, false);
  s.call(0).answer("no");
  const got = s.peer.take();
  assert.is(body(got, 1), "no");
  assert.is(codeOf(got.at(-1)), f.NO_ERROR);
  assert.is(got.at(-1)?.type, f.RST_STREAM);
  assert.ok(s.call(0).aborted !== null);
  s.peer.data(1, "late"); // is ignored
  assert.equal(s.peer.take(), []);
});

test("errors are statuses, and for gRPC trailers only; midway they are a reset or a status", () => {
  const s = server();
  const grpc: Fields = [...POST, ["content-type", "application/grpc+proto"]];
  s.peer.hello().headers(1, GET).headers(3, grpc, false).headers(5, GET).headers(7, grpc, false);
  s.call(0).reply.fail(new MeshError("unauthorized", "nobody is allowed"));
  s.call(1).reply.fail(new MeshError("no-route", "100% none"));
  for (const i of [2, 3]) {
    s.call(i).answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
    s.call(i).reply.abort(new MeshError("upstream-closed", "it went away"));
  }
  const got = s.peer.take();
  const of = (id: number) => got.filter((g) => g.stream === id);
  assert.equal(of(1).map((g) => g.fields), [
    { ":status": "403", "content-length": "0", "l5d-proxy-error": "nobody is allowed" },
  ]);
  assert.equal(of(3)[0]?.fields, {
    ":status": "200",
    "content-type": "application/grpc",
    "grpc-status": "5",
    "grpc-message": "100%25 none",
    "l5d-proxy-error": "100% none",
  });
  assert.is(of(3)[0]!.flags & END, END);
  assert.is(codeOf(of(5)[1]), f.INTERNAL_ERROR);
  assert.equal(of(7)[1]?.fields, { "grpc-status": "14", "grpc-message": "it went away" });
  assert.is(s.inFlight.count, 0);
});

test("an endpoint's reset is passed on as it is", () => {
  const s = server();
  s.peer.hello().headers(1, GET).headers(3, GET);
  s.call(0).reply.fail(new MeshError("upstream-closed", "reset", { reset: f.REFUSED_STREAM }));
  s.call(1).answer(null, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked");
  s.call(1).reply.abort(new MeshError("upstream-closed", "reset", { reset: f.CANCEL }));
  assert.equal(s.peer.only(f.RST_STREAM).map(codeOf), [f.REFUSED_STREAM, f.CANCEL]);
});
test.run();
