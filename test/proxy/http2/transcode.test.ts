// A head that comes over HTTP/2 and goes out over HTTP/2 is not decoded and encoded again: by chance, with
// any mix of connections, that changes nothing of what arrives.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { RequestHead } from "../../../src/core/head.ts";
import { requestRoom, writeRequest } from "../../../src/proxy/http1/encode.ts";
import { INDEX, NO_INDEX } from "../../../src/proxy/http2/field-rules.ts";
import { HpackDecoder } from "../../../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import { headReader } from "../../../src/proxy/http2/read-heads.ts";
import { decoded, latin1 } from "../../support/decoded.ts";
import { fuzzSeed, seeded } from "../../support/random.ts";
import {
  as,
  Client,
  encode,
  Endpoint,
  expected,
  GET,
  MAX,
  randomFields,
  type Sent,
} from "./transcode-fixture.ts";

test("what arrives is what decoding and encoding again would send, over any mix of connections", () => {
  const random = seeded(fuzzSeed("transcode"));
  const clients = Array.from({ length: 4 }, () => new Client());
  const endpoints = Array.from({ length: 3 }, () => new Endpoint());
  const plain = new HpackEncoder();
  const reader = new HpackDecoder();
  for (let i = 0; i < 3000; i++) {
    const client = random.pick(clients);
    const endpoint = random.pick(endpoints);
    if (random.int(0, 30) === 0) client.limit(random.int(0, 5000));
    if (random.int(0, 30) === 0) endpoint.encoder.limit(random.int(0, 5000));
    const fields = randomFields(random);
    const head = client.request(fields);
    if (random.int(0, 3) === 0) {
      head.retain();
      random.pick(clients).request(randomFields(random));
    }
    const want = expected(fields);
    assert.equal(endpoint.request(head), want);
    assert.equal(decoded(reader, encode(plain, as(INDEX, want))), want);
  }
});

test("what corrupted blocks become is refused, or may stand in a message wherever it goes", () => {
  const random = seeded(fuzzSeed("transcode corrupted"));
  const name = /^(:(method|path|scheme|authority)|[a-z0-9!#$%&'*+.^_`|~-]+)$/;
  // deno-lint-ignore no-control-regex
  const value = /^(?![ \t])[^\x00-\x08\x0a-\x1f\x7f]*(?<![ \t])$/;
  let taken = 0;
  for (let round = 0; round < 300; round++) {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    const endpoint = new Endpoint();
    for (let i = 0; i < 8; i++) {
      const block = encode(encoder, randomFields(random));
      for (let k = random.int(0, 3); k > 0; k--) {
        block[random.int(0, block.length - 1)] = random.int(0, 255);
      }
      const head = new RequestHead();
      head.major = 2;
      const sink = headReader.beginRequest(head, MAX);
      if (!decoder.decode(block, 0, block.length, sink)) break;
      if (headReader.finishRequest(true) !== 0) continue;
      taken++;
      for (const [n, v] of endpoint.request(head)) {
        assert.match(n, name);
        assert.match(v, value);
      }
      const text = new Uint8Array(requestRoom(head));
      const lines = latin1(text, 0, writeRequest(head, text, 0)).split("\r\n");
      assert.equal(lines.slice(-2), ["", ""]);
      for (const line of lines.slice(1, -2)) assert.match(line, /^[^\s:]+: /);
    }
  }
  assert.ok(taken > 100);
});

test("HTTP/1 is written the same, whatever form the fields came in", () => {
  const random = seeded(fuzzSeed("transcode http1"));
  const client = new Client();
  const text = (fields: readonly Sent[]) => {
    const head = client.request(fields);
    const dst = new Uint8Array(requestRoom(head));
    return latin1(dst, 0, writeRequest(head, dst, 0));
  };
  for (let i = 0; i < 500; i++) {
    const fields = randomFields(random);
    const lines = expected(fields).slice(4).map(([n, v]) => `${n}: ${v}\r\n`);
    const [method, , path, authority] = fields.map(([, value]) => value);
    const want = `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n${lines.join("")}\r\n`;
    assert.is(text(fields), want);
    assert.is(text(fields.map(([n, v]) => [n, v, NO_INDEX])), want);
    assert.is(text(fields.map(([n, v]) => [n, v, INDEX])), want);
  }
});

test("the largest head that is taken goes through whole, its cookie in crumbs too", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  for (const [first, second] of [[62_000, 100], [100, 62_000], [31_000, 31_000]] as const) {
    // bytes whose Huffman code is longer than they are, so that they go plain
    const crumbs = ["|".repeat(first), "~".repeat(second)];
    const fields = as(NO_INDEX, [
      ...GET,
      ["x-a", "1"],
      ...crumbs.map((c) => ["cookie", c] as const),
    ]);
    const head = client.request(fields);
    head.retain();
    assert.equal(endpoint.request(head), [...GET, ["x-a", "1"], ["cookie", crumbs.join("; ")]]);
    const text = new Uint8Array(requestRoom(head));
    assert.match(latin1(text, 0, writeRequest(head, text, 0)), /\|; ~+\r\n\r\n$/);
  }
  assert.is(client.refused(as(NO_INDEX, [...GET, ["x-a", "1".repeat(MAX)]])), -2);
});

test.run();
