// The key of consistent hashing is the same, whatever protocol and form a request came in.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Exchange } from "../../../src/core/exchange.ts";
import type { RequestHead } from "../../../src/core/head.ts";
import type { HashKey } from "../../../src/model/hash-key.ts";
import { parseRequest } from "../../../src/proxy/http1/parse.ts";
import { INDEX, NEVER_INDEX, NO_INDEX } from "../../../src/proxy/http2/field-rules.ts";
import { HpackDecoder } from "../../../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import { headReader } from "../../../src/proxy/http2/read-heads.ts";
import { KeyReader } from "../../../src/proxy/outbound/hash-key.ts";

const ADDR = { ip: "127.0.0.1", port: 80 };
const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

function exchange(fill: (head: RequestHead) => void): Exchange {
  const x = new Exchange({ direction: "outbound", remote: ADDR, target: ADDR, tls: null });
  fill(x.request);
  return x;
}

/** The request over HTTP/1, then over HTTP/2 in every form that its fields may have. */
function forms(fields: readonly (readonly [string, string])[]): Exchange[] {
  const lines = ["GET / HTTP/1.1", "host: a", ...fields.map(([n, v]) => `${n}: ${v}`), "", ""];
  const text = bytes(lines.join("\r\n"));
  const all = [exchange((head) => {
    assert.is(parseRequest(head, text, 0, text.length, 65536), text.length);
  })];
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder();
  const pseudo = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "a"]];
  for (const how of [NO_INDEX, NEVER_INDEX, INDEX, INDEX]) {
    const block = new Uint8Array(4096);
    let at = encoder.begin(block, 0);
    for (const [n, v] of [...pseudo, ...fields] as [string, string][]) {
      const buf = bytes(n + v);
      at = encoder.field(buf, 0, n.length, n.length, buf.length, block, at, how);
    }
    all.push(exchange((head) => {
      head.major = 2;
      assert.ok(decoder.decode(block, 0, at, headReader.beginRequest(head, 65536)));
      assert.is(headReader.finishRequest(true), 0);
      head.retain();
    }));
  }
  return all;
}

function keys(key: HashKey, fields: readonly (readonly [string, string])[]): number[] {
  const reader = new KeyReader(key);
  return forms(fields).map((x) => reader.read(x));
}

test("a header's value hashes the same in every form, another value does not", () => {
  const key: HashKey = { kind: "header", name: "x-user" };
  const of = (user: string) => keys(key, [["accept", "*/*"], ["x-user", user], ["x-b", "c"]]);
  const [first, ...others] = of("alice");
  assert.ok(first !== undefined && first >= 0);
  assert.equal(others, [first, first, first, first]);
  assert.is.not(of("bob")[4], first);
  assert.equal(keys(key, [["x-user", ""]]), [-1, -1, -1, -1, -1]);
  assert.equal(keys(key, [["x-other", "alice"]]), [-1, -1, -1, -1, -1]);
});

test("a cookie's value hashes the same in every form, and in crumbs", () => {
  const key: HashKey = { kind: "cookie", name: "sid", ttlMs: 0 };
  const whole = keys(key, [["cookie", "a=1; sid=abc; b=2"]]);
  assert.ok((whole[0] as number) >= 0);
  assert.is(new Set(whole).size, 1);
  const crumbs = keys(key, [["cookie", "a=1"], ["cookie", "sid=abc"], ["cookie", "b=2"]]).slice(1);
  assert.equal(new Set(crumbs), new Set(whole));
  assert.equal(keys(key, [["cookie", "a=1; xsid=abc"]]), [-1, -1, -1, -1, -1]);
});

test.run();
