import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  FIELD_HOP,
  FIELD_MESH,
  headerName,
  RequestHead,
  ResponseHead,
} from "../../../src/core/head.ts";
import {
  CHUNKED,
  INCOMPLETE,
  MALFORMED,
  TOO_LARGE,
  UNKNOWN_CODING,
  UNTIL_CLOSE,
  WRONG_VERSION,
} from "../../../src/proxy/http1/codes.ts";
import { parseRequest, parseResponse } from "../../../src/proxy/http1/parse.ts";
import { seeded } from "../../support/random.ts";

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
function request(text: string, maxBytes = 65536): { n: number; head: RequestHead } {
  const head = new RequestHead();
  const buf = bytes(text);
  return { n: parseRequest(head, buf, 0, buf.length, maxBytes), head };
}
function response(
  text: string,
  toHead = false,
  toConnect = false,
): { n: number; head: ResponseHead } {
  const head = new ResponseHead();
  const buf = bytes(text);
  return { n: parseResponse(head, buf, 0, buf.length, 65536, toHead, toConnect), head };
}
const get = (fields: string, line = "GET / HTTP/1.1") => request(`${line}\r\n${fields}\r\n`).n;

test("parseRequest() reads line, fields and framing", () => {
  const text =
    "POST /a/b?c=d HTTP/1.1\r\nHost: web:8080\r\nContent-Length: 12\r\nX-Tag:  a b \r\n\r\nbody";
  const { n, head } = request(text);
  assert.is(n, text.length - 4);
  assert.is(head.method, "POST");
  assert.is(head.path, "/a/b?c=d");
  assert.is(head.authority, "web:8080");
  assert.is(head.bodyLength, 12);
  assert.is(head.get(headerName("x-tag")), "a b");
  assert.is(head.get(headerName("X-TAG")), "a b");
  assert.is(head.get(headerName("x-other")), null);
  assert.not(head.close);
});

test("parseRequest() takes the authority of an absolute-form target over Host", () => {
  const { head } = request("GET http://catalogue.shop:80/x HTTP/1.1\r\nHost: other\r\n\r\n");
  assert.is(head.authority, "catalogue.shop:80");
  assert.is(head.path, "/x");
  assert.is(request("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").head.path, "/");
});

test("parseRequest() takes the target of CONNECT as authority", () => {
  const { head } = request("CONNECT vote.shop:7000 HTTP/1.1\r\nHost: vote.shop:7000\r\n\r\n");
  assert.ok(head.isConnect);
  assert.is(head.authority, "vote.shop:7000");
});

test("parseRequest() keeps the bytes of values that are not UTF-8", () => {
  const { head } = request("GET / HTTP/1.1\r\nhost: a\r\nx: \xff\x80\xe9\r\n\r\n");
  assert.is(head.get(headerName("x")), "\xff\x80\xe9");
});

test("parseRequest() refuses what two readers could read in two ways", () => {
  const bad: Record<string, string> = {
    "Content-Length beside Transfer-Encoding":
      "host: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
    "Transfer-Encoding before Content-Length":
      "host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n",
    "two different lengths": "host: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n",
    "two equal lengths": "host: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n",
    "a list of lengths": "host: a\r\ncontent-length: 3, 3\r\n",
    "a signed length": "host: a\r\ncontent-length: +3\r\n",
    "a hexadecimal length": "host: a\r\ncontent-length: 0x3\r\n",
    "an empty length": "host: a\r\ncontent-length: \r\n",
    "a length past 2^53": "host: a\r\ncontent-length: 99999999999999999999\r\n",
    "chunked twice": "host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "two hosts": "host: a\r\nhost: a\r\n",
    "no host": "x: 1\r\n",
    "userinfo in the host": "host: a@b\r\n",
    "a space in the host": "host: a b\r\n",
    "a space before the colon": "host : a\r\n",
    "a folded line": "host: a\r\nx: 1\r\n 2\r\n",
    "a folded first line": " x: 1\r\nhost: a\r\n",
    "a bare LF": "host: a\nx: 1\r\n",
    "a bare CR": "host: a\rx: 1\r\n",
    "NUL in a value": "host: a\r\nx: a\0b\r\n",
    "DEL in a value": "host: a\r\nx: a\x7fb\r\n",
    "a field without a name": "host: a\r\n: x\r\n",
    "a field without a colon": "host: a\r\nx\r\n",
    "an unknown expectation": "host: a\r\nexpect: 200-ok\r\n",
  };
  for (const [what, fields] of Object.entries(bad)) assert.is(get(fields), MALFORMED, what);
  for (const coding of ["gzip", "gzip, chunked", "chunked, gzip", "xchunked", "identity"]) {
    assert.is(get(`host: a\r\ntransfer-encoding: ${coding}\r\n`), UNKNOWN_CODING, coding);
  }
  assert.is(
    request("GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n").n,
    MALFORMED,
    "chunks in 1.0",
  );
});

test("parseRequest() refuses malformed request lines", () => {
  for (
    const line of [
      "GET  / HTTP/1.1",
      " GET / HTTP/1.1",
      "GET / HTTP/1.1 ",
      "GET /\x7f HTTP/1.1",
      "GET /a b HTTP/1.1",
      "G(T / HTTP/1.1",
      "GET / http/1.1",
      "GET / HTTP/1.x",
      "GET a HTTP/1.1",
      "GET ftp://a/ HTTP/1.1",
      "GET http:///x HTTP/1.1",
      "GET *x HTTP/1.1",
    ]
  ) assert.is(get("host: a\r\n", line), MALFORMED, line);
  assert.is(get("host: a\r\n", "GET / HTTP/2.0"), WRONG_VERSION);
});

test("parseRequest() answers INCOMPLETE for each proper prefix", () => {
  const text =
    "POST http://h:1/p HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n";
  for (let cut = 0; cut < text.length; cut++) {
    assert.is(request(text.slice(0, cut)).n, INCOMPLETE, `cut at ${cut}`);
  }
  assert.is(request(text).head.bodyLength, CHUNKED);
});

test("parseRequest() takes a byte in a value or not, wherever it stands", () => {
  for (let byte = 0; byte < 256; byte++) {
    const allowed = byte === 9 || (byte >= 32 && byte !== 127);
    for (let at = 0; at < 13; at++) {
      for (const beside of ["x", "\x7e", "\xff", "\t"]) {
        const value = beside.repeat(at) + String.fromCharCode(byte) + beside.repeat(12 - at);
        const { n, head } = request(`GET / HTTP/1.1\r\nHost: a\r\nX-Odd: y${value}y\r\n\r\n`);
        // CR is the end of the line where LF follows, which it does not here
        assert.is(n > 0, allowed, `byte ${byte} at ${at}, beside ${JSON.stringify(beside)}`);
        if (allowed) assert.is(head.get(headerName("x-odd")), `y${value}y`);
      }
    }
  }
});

test("a head behind another one in its buffer is read from where it begins", () => {
  const head = new RequestHead();
  const all = bytes("??GET /1 HTTP/1.1\r\nHost: one.example:80\r\nX-A: 1234567\r\n\r\n");
  const part = all.subarray(1);
  assert.is(parseRequest(head, part, 1, part.length, 65536), part.length - 1);
  assert.is(head.get(headerName("x-a")), "1234567");
  assert.is(parseRequest(head, all, 2, all.length, 65536), all.length - 2);
  assert.is(head.get(headerName("x-a")), "1234567");
});

test("parseRequest() bounds the head and the number of fields", () => {
  assert.is(request(`GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(2000)}`, 1024).n, TOO_LARGE);
  assert.is(get("host: a\r\n" + "x: y\r\n".repeat(200)), TOO_LARGE);
});

test("parseRequest() marks what belongs to this hop, also what Connection names", () => {
  const { head } = request(
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, X-Hop\r\nx-hop: 1\r\nx-end: 2\r\nl5d-client-id: me\r\nte: trailers\r\n\r\n",
  );
  const mark = (name: string) => head.marks[head.find(headerName(name))];
  assert.ok(head.close);
  assert.is(mark("connection"), FIELD_HOP);
  assert.is(mark("x-hop"), FIELD_HOP);
  assert.is(mark("te"), FIELD_HOP);
  assert.is(mark("x-end"), 0);
  assert.is(mark("l5d-client-id"), FIELD_MESH);
});

test("parseRequest() marks the mesh's own fields whatever their length", () => {
  for (let length = 5; length < 40; length++) {
    const name = "L5d-".padEnd(length, "x");
    const { head } = request(`GET / HTTP/1.1\r\nhost: a\r\n${name}: me\r\n\r\n`);
    assert.is(head.marks[head.find(headerName(name.toLowerCase()))], FIELD_MESH, name);
  }
});

test("parseRequest() keeps HTTP/1.0 connections only when asked", () => {
  assert.ok(request("GET / HTTP/1.0\r\n\r\n").head.close);
  assert.not(request("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").head.close);
  assert.ok(
    request("GET / HTTP/1.1\r\nhost: a\r\nconnection: close, keep-alive\r\n\r\n").head.close,
  );
});

test("parseRequest() reads Connection whatever its case, and with other tokens", () => {
  const of = (value: string, line = "GET / HTTP/1.1") =>
    request(`${line}\r\nHost: a\r\nConnection: ${value}\r\n\r\n`).head.close;
  for (const value of ["close", "Close", "CLOSE", "close, te", "x-a,close", "keep-alive, close"]) {
    assert.is(of(value), true, value);
  }
  for (const value of ["keep-alive", "Keep-Alive", "te", "closed", "keep-alivE", "clos"]) {
    assert.is(of(value), false, value);
  }
  for (const value of ["keep-alive", "KEEP-ALIVE", "x-a, keep-alive"]) {
    assert.is(of(value, "GET / HTTP/1.0"), false, value);
  }
  assert.is(of("te", "GET / HTTP/1.0"), true);
  const { head } = request(
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: x-a, close\r\nX-A: 1\r\n\r\n",
  );
  assert.is(head.close, true);
  assert.is(head.marks[head.find(headerName("x-a"))], FIELD_HOP);
});

test("parseResponse() knows which responses have a body", () => {
  const length = (text: string, toHead = false, toConnect = false) =>
    response(text, toHead, toConnect).head.bodyLength;
  assert.is(length("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"), 5);
  assert.is(length("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), CHUNKED);
  assert.is(length("HTTP/1.1 200 OK\r\n\r\n"), UNTIL_CLOSE);
  assert.is(length("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true), 0, "HEAD");
  assert.is(length("HTTP/1.1 204 No Content\r\n\r\n"), 0);
  assert.is(length("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"), 0);
  assert.is(length("HTTP/1.1 100 Continue\r\n\r\n"), 0);
  const tunnel = response("HTTP/1.1 200 OK\r\n\r\n", false, true).head;
  assert.ok(tunnel.tunnel);
  assert.is(tunnel.bodyLength, 0);
});

test("parseResponse() takes a status line without reason, and refuses others", () => {
  assert.is(response("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n").head.status, 200);
  for (
    const line of [
      "HTTP/1.1 20 OK",
      "HTTP/1.1 2000",
      "HTTP/2 200 OK",
      "ICY 200 OK",
      "HTTP/1.1 000 x",
    ]
  ) {
    assert.ok(response(`${line}\r\n\r\n`).n < 0, line);
  }
});

test("parsers survive random mutations without throwing or reading past the end", () => {
  const random = seeded(7);
  const base = bytes(
    "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: a, b\r\nX: y\r\n\r\n",
  );
  const head = new RequestHead();
  for (let i = 0; i < 20_000; i++) {
    const buf = base.slice();
    for (let k = random.int(1, 4); k > 0; k--) {
      buf[random.int(0, buf.length - 1)] = random.int(0, 255);
    }
    const n = parseRequest(head, buf, 0, buf.length, 65536);
    assert.ok(n <= buf.length);
    if (n <= 0) continue;
    for (let f = 0; f < head.count; f++) {
      assert.ok((head.spans[f * 4 + 3] as number) <= n);
      assert.not.match(head.valueAt(f), /[\r\n\0]/);
    }
  }
});

test.run();
