// Extended CONNECT (RFC 8441) of a client: an upgrade of HTTP/1 for whoever answers it.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { headerName } from "../../../src/core/head.ts";
import { acceptOf } from "../../../src/proxy/http2/extended-connect.ts";
import * as f from "../../../src/proxy/http2/frames.ts";
import { body, codeOf, type Fields, GET } from "./raw-peer.ts";
import { server } from "./server-fixture.ts";

const KEY = headerName("sec-websocket-key");
const WEBSOCKET: Fields = [
  [":method", "CONNECT"],
  [":protocol", "websocket"],
  [":scheme", "https"],
  [":path", "/chat?x"],
  [":authority", "a.test"],
  ["sec-websocket-version", "13"],
  ["origin", "https://a.test"],
];

const without = (name: string) => WEBSOCKET.filter(([n]) => n !== name);
const instead = (name: string, value: string): Fields =>
  WEBSOCKET.map(([n, v]) => [n, n === name ? value : v]);

test("acceptOf() answers the key of RFC 6455's example", () => {
  assert.is(acceptOf("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
});

test("a server says that it takes extended CONNECT", () => {
  const s = server();
  const [settings] = s.peer.only(f.SETTINGS);
  const said = new Map<number, number>();
  for (let at = 0; at < settings!.payload.length; at += 6) {
    said.set(settings!.payload[at + 1]!, f.readU32(settings!.payload, at + 2));
  }
  assert.is(said.get(f.ENABLE_CONNECT_PROTOCOL), 1);
});

test("a WebSocket is an upgrade with a key for the application, and a tunnel once it says 101", () => {
  const s = server();
  s.peer.hello().headers(1, WEBSOCKET, false);
  const call = s.call(0);
  const { request } = call.x;
  assert.is(call.line, "GET a.test /chat?x");
  assert.ok(request.upgrade);
  assert.not.ok(request.isConnect);
  assert.is(request.get(headerName("upgrade")), "websocket");
  assert.is(atob(request.get(KEY)!).length, 16);
  s.peer.data(1, "early");
  assert.is(call.body, "", "nothing passes before the answer");
  call.answer(
    null,
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n" +
      `sec-websocket-accept: ${acceptOf(request.get(KEY)!)}\r\nsec-websocket-protocol: chat`,
  );
  assert.is(call.body, "early");
  call.send("hello");
  const got = s.peer.take();
  assert.equal(got[0]!.fields, { ":status": "200", "sec-websocket-protocol": "chat" });
  assert.is(got[0]!.flags & f.END_STREAM, 0);
  assert.is(body(got, 1), "hello");
  assert.is(call.x.status, 101);
  // Half-close, each side for itself.
  s.peer.data(1, "bye", true);
  assert.equal([call.body, call.ends], ["earlybye", 2]);
  call.send("still");
  call.reply.end();
  assert.is(body(s.peer.take(), 1), "still");
  assert.is(s.server.session.streams, 0);
  assert.is(s.inFlight.count, 0);
});

test("any other protocol passes, without a key", () => {
  const s = server();
  s.peer.hello().headers(1, instead(":protocol", "SPDY/3.1"), false);
  const { request } = s.call(0).x;
  assert.is(request.get(headerName("upgrade")), "SPDY/3.1");
  assert.is(request.get(KEY), null);
  s.call(0).answer(null, "HTTP/1.1 101 Switching Protocols\r\nupgrade: SPDY/3.1");
  assert.equal(s.peer.only(f.HEADERS)[0]!.fields, { ":status": "200" });
});

test("an application that answers another key opens nothing", () => {
  const s = server();
  s.peer.hello().headers(1, WEBSOCKET, false);
  s.call(0).answer(
    null,
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: other",
  );
  const [head] = s.peer.only(f.HEADERS);
  assert.is(head!.fields[":status"], "502");
  assert.match(head!.fields["l5d-proxy-error"]!, /another key/);
  assert.ok(s.call(0).aborted);
  assert.is(s.server.session.streams, 0);
});

test("a refusal passes with its body, and a 2xx without a switch is none of CONNECT's", () => {
  for (const [status, seen] of [[400, "400"], [426, "426"], [302, "302"], [200, "501"]] as const) {
    const s = server();
    s.peer.hello().headers(1, WEBSOCKET, false);
    s.call(0).answer("no", `HTTP/1.1 ${status} X\r\ncontent-length: 2`);
    const got = s.peer.take();
    assert.is(got[0]!.fields[":status"], seen);
    assert.is(got[0]!.fields["l5d-orig-status"], undefined, "only a proxy is told");
    assert.is(body(got, 1), "no");
    assert.is(s.server.session.streams, 0);
    assert.is(s.inFlight.count, 0);
  }
});

test("HTTP/2 within a stream is refused", () => {
  for (const protocol of ["h2c", "h2"]) {
    const s = server();
    s.peer.hello().headers(1, instead(":protocol", protocol), false);
    assert.is(s.peer.only(f.HEADERS)[0]!.fields[":status"], "501");
    assert.is(s.calls.length, 0);
  }
});

test("what is half an extended CONNECT is malformed", () => {
  const cases: Record<string, Fields> = {
    "no :path": without(":path"),
    "no :scheme": without(":scheme"),
    "no :authority": without(":authority"),
    "an empty :protocol": instead(":protocol", ""),
    "a :protocol of several": instead(":protocol", "websocket, echo"),
    "a :protocol that ends a line": instead(":protocol", "a\r\nx: y"),
    "a :protocol twice": [[":protocol", "websocket"], ...WEBSOCKET],
    ":protocol with GET": [...GET, [":protocol", "websocket"]],
    "a body's length": [...WEBSOCKET, ["content-length", "3"]],
    "an upgrade field": [...WEBSOCKET, ["upgrade", "websocket"]],
  };
  for (const [name, fields] of Object.entries(cases)) {
    const s = server();
    s.peer.hello().headers(1, fields, false);
    assert.is(codeOf(s.peer.only(f.RST_STREAM)[0]), f.PROTOCOL_ERROR, name);
    assert.is(s.calls.length, 0, name);
  }
});

test("a client that goes away takes its tunnel along", () => {
  const s = server();
  s.peer.hello().headers(1, instead(":protocol", "echo"), false);
  s.call(0).answer(null, "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo");
  s.peer.rst(1);
  assert.is(s.call(0).aborted?.kind, "client-gone");
  assert.is(s.inFlight.count, 0);
});

test.run();
