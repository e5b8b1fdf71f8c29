import { test } from "uvu";
import * as assert from "uvu/assert";
import { RequestHead } from "../../../src/core/head.ts";
import { requestRoom, writeRequest } from "../../../src/proxy/http1/encode.ts";
import { parseRequest } from "../../../src/proxy/http1/parse.ts";
import { downgrade, origProtoOf } from "../../../src/proxy/http2/orig-proto.ts";

function head(text: string): RequestHead {
  const made = new RequestHead();
  const buf = Uint8Array.from(`${text}\r\n\r\n`, (c) => c.charCodeAt(0));
  assert.is(parseRequest(made, buf, 0, buf.length, 65536), buf.length);
  return made;
}

/** As an HTTP/2 codec would lend it. */
function upgraded(value: string): RequestHead {
  const made = head(`GET /a HTTP/1.1\r\nhost: web\r\nl5d-orig-proto: ${value}`);
  made.major = 2;
  return made;
}

function written(from: RequestHead): string {
  const buf = new Uint8Array(requestRoom(from));
  return String.fromCharCode(...buf.subarray(0, writeRequest(from, buf, 0)));
}

test("origProtoOf() says the version and, where it is to be kept, the form", () => {
  assert.is(origProtoOf(head("GET /a HTTP/1.1\r\nhost: web")), "HTTP/1.1");
  assert.is(origProtoOf(head("GET /a HTTP/1.0")), "HTTP/1.0");
  const absolute = head("GET http://web/a HTTP/1.1\r\nhost: web");
  assert.is(origProtoOf(absolute), "HTTP/1.1", "it was meant for this proxy");
  absolute.absoluteForm = true;
  assert.is(origProtoOf(absolute), "HTTP/1.1; absolute-form");
});

test("downgrade() makes HTTP/1 of it again, with version and form", () => {
  const plain = upgraded("HTTP/1.1");
  assert.is(downgrade(plain), "HTTP/1.1");
  assert.is(plain.major, 1);
  assert.is(written(plain), "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
  const old = upgraded("HTTP/1.0; absolute-form");
  assert.is(downgrade(old), "HTTP/1.0");
  assert.is(old.minor, 0);
  assert.is(written(old), "GET http://web/a HTTP/1.0\r\nhost: web\r\n\r\n");
});

test("downgrade() leaves alone what was not upgraded, or is no version", () => {
  for (
    const value of ["HTTP/2.0", "http/1.1", "HTTP/1.1;absolute-form", "HTTP/1.1, HTTP/1.1", ""]
  ) {
    const made = upgraded(value);
    assert.is(downgrade(made), null, value);
    assert.is(made.major, 2);
  }
  const overHttp1 = upgraded("HTTP/1.0");
  overHttp1.major = 1;
  assert.is(downgrade(overHttp1), null);
});

test.run();
