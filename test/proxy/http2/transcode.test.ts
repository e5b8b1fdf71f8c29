// A head that comes over HTTP/2 and goes out over HTTP/2 is not decoded and encoded again: what that must
// not change, and what it must keep of how the fields came.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { headerName, RequestHead, ResponseHead } from "../../../src/core/head.ts";
import { requestRoom, writeRequest } from "../../../src/proxy/http1/encode.ts";
import { INDEX, NEVER_INDEX, NO_INDEX } from "../../../src/proxy/http2/field-rules.ts";
import { type FieldSink, HpackDecoder } from "../../../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import { hpackField } from "../../../src/proxy/http2/hpack-field.ts";
import { headReader } from "../../../src/proxy/http2/read-heads.ts";
import {
  blockRoom,
  requestBlockRoom,
  writeRequestBlock,
  writeResponseBlock,
} from "../../../src/proxy/http2/write-heads.ts";
import { decoded, type Fields, latin1 } from "../../support/decoded.ts";
import { fuzzSeed, type Random, seeded } from "../../support/random.ts";

const MAX = 64 * 1024;
const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const GET: Fields = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "a"]];

/** A field as a client means to send it. */
type Sent = readonly [name: string, value: string, how: number];

function encode(encoder: HpackEncoder, fields: readonly Sent[]): Uint8Array {
  const dst = new Uint8Array(1 << 17);
  let at = encoder.begin(dst, 0);
  for (const [name, value, how] of fields) {
    const buf = bytes(name + value);
    at = encoder.field(buf, 0, name.length, name.length, buf.length, dst, at, how);
  }
  return dst.slice(0, at);
}

/** One client's connection to us. */
class Client {
  readonly #encoder = new HpackEncoder();
  readonly #decoder = new HpackDecoder();
  /** Bytes of the last block on the wire. */
  sent = 0;

  limit(tableBytes: number): void {
    this.#encoder.limit(tableBytes);
  }

  request(fields: readonly Sent[], end = true): RequestHead {
    const head = new RequestHead();
    head.major = 2;
    this.#read(fields, headReader.beginRequest(head, MAX));
    assert.is(headReader.finishRequest(end), 0);
    return head;
  }

  refused(fields: readonly Sent[]): number {
    const head = new RequestHead();
    head.major = 2;
    this.#read(fields, headReader.beginRequest(head, MAX));
    return headReader.finishRequest(true);
  }

  response(fields: readonly Sent[]): ResponseHead {
    const head = new ResponseHead();
    head.major = 2;
    this.#read(fields, headReader.beginResponse(head, MAX));
    assert.is(headReader.finishResponse(true, false, false), 0);
    return head;
  }

  #read(fields: readonly Sent[], sink: FieldSink): void {
    const block = encode(this.#encoder, fields);
    this.sent = block.length;
    assert.ok(this.#decoder.decode(block, 0, block.length, sink));
    block.fill(0); // lent for the call
  }
}

/** One connection of ours to an endpoint. */
class Endpoint {
  readonly encoder = new HpackEncoder();
  readonly #decoder = new HpackDecoder();
  block = new Uint8Array(0);

  request(head: RequestHead): Fields {
    const dst = new Uint8Array(requestBlockRoom(head) + 64);
    return this.#read(
      dst,
      writeRequestBlock(this.encoder, head, "", dst, this.encoder.begin(dst, 0)),
    );
  }

  response(head: ResponseHead): Fields {
    const dst = new Uint8Array(blockRoom(head) + 64);
    return this.#read(dst, writeResponseBlock(this.encoder, head, dst, this.encoder.begin(dst, 0)));
  }

  #read(dst: Uint8Array, to: number): Fields {
    assert.ok(to <= dst.length, "the room was enough");
    this.block = dst.slice(0, to);
    const fields = decoded(this.#decoder, this.block);
    assert.ok(fields !== null);
    return fields as Fields;
  }
}

const as = (how: number, fields: Fields): Sent[] => fields.map(([n, v]) => [n, v, how]);

/** What must arrive: crumbs in the place of the first, Host and what is of one hop left out. */
function expected(fields: readonly Sent[]): Fields {
  const crumbs = fields.filter(([name]) => name === "cookie").map(([, value]) => value);
  const out: [string, string][] = [];
  for (const [name, value] of fields) {
    if (["host", "trailer", "te", "l5d-x"].includes(name)) continue;
    if (name !== "cookie") out.push([name, value]);
    else if (crumbs.length > 0) out.push([name, crumbs.splice(0).join("; ")]);
  }
  return out;
}

function randomFields(random: Random): Sent[] {
  const how = () => random.pick([INDEX, INDEX, INDEX, NO_INDEX, NEVER_INDEX]);
  const fields: Sent[] = [
    [":method", random.pick(["GET", "POST", "PURGE"]), how()],
    [":scheme", "http", how()],
    [":path", random.pick(["/", "/a", `/item/${random.int(0, 30)}?q=${random.int(0, 9)}`]), how()],
    [":authority", random.pick(["a", "b.test:8080", `c${random.int(0, 9)}.test`]), how()],
  ];
  for (let k = random.int(0, 10); k > 0; k--) {
    const name = random.pick([
      ...["accept", "cookie", "authorization", "traceparent", "user-agent", "trailer", "l5d-x"],
      ...["x-long", "x-a", `x-${random.int(0, 60)}`],
    ]);
    const text = random.pick([
      "1",
      "gzip, deflate",
      "~{}|\\^",
      "\xe9\xff",
      `v${random.int(0, 40)}`,
    ]);
    const value = name === "x-long" ? `${random.int(0, 3)}`.repeat(random.int(1, 3000)) : text;
    fields.push([name, value, how()]);
  }
  return fields;
}

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

test("edits hold whatever form the field came in", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  for (const how of [INDEX, INDEX, NO_INDEX, NEVER_INDEX]) {
    const head = client.request(as(how, [...GET, ["x-a", "1"], ["x-b", "2"], ["x-c", "3"]]));
    head.set(headerName("X-A"), "new");
    head.remove(headerName("x-b"));
    head.add(headerName("x-c"), "4");
    assert.is(head.get(headerName("x-c")), "3");
    assert.equal(endpoint.request(head), [...GET, ["x-c", "3"], ["x-a", "new"], ["x-c", "4"]]);
    head.newPath = "/other";
    head.newAuthority = "other";
    assert.equal(endpoint.request(head).slice(2, 4), [[":path", "/other"], [
      ":authority",
      "other",
    ]]);
  }
});

test("a field that came by its index goes out by its index", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  const all: Fields = [...GET, ["x-a", "a value of some length"], ["user-agent", "grpc-go/1.71.0"]];
  for (let i = 0; i < 3; i++) endpoint.request(client.request(as(INDEX, all)));
  assert.is(client.sent, 6);
  assert.is(endpoint.block.length, 6);
  assert.ok(endpoint.block.every((b) => b >= 0x80));
  // and after what evicts it, as a literal once
  endpoint.encoder.limit(0);
  endpoint.encoder.limit(4096);
  assert.equal(endpoint.request(client.request(as(INDEX, all))), all);
  assert.ok(endpoint.block.length > 20);
  endpoint.request(client.request(as(INDEX, all)));
  assert.is(endpoint.block.length, 6);
});

test("clients that say the same share an endpoint's entries", () => {
  const endpoint = new Endpoint();
  const all: Fields = [...GET.slice(0, 3), [":authority", "shared.test"], ["x-shared", "1"]];
  for (let i = 0; i < 20; i++) endpoint.request(new Client().request(as(INDEX, all)));
  assert.is(endpoint.block.length, 5);
});

test("a literal that no hop may keep stays one, and one that was not kept is not kept", () => {
  const endpoint = new Endpoint();
  endpoint.request(new Client().request(as(INDEX, GET)));
  const first = (block: Uint8Array) => (block[0] as number) & 0xf0;
  for (
    const [name, value] of [["x-pin", "1234"], ["accept", "a/b"], ["content-length", "0"]] as const
  ) {
    for (const how of [NO_INDEX, NEVER_INDEX]) {
      for (let i = 0; i < 2; i++) {
        const head = new Client().request([...as(INDEX, GET), [name, value, how]], false);
        const all = endpoint.request(head);
        assert.equal(all.at(-1), [name, value]);
        const rest = endpoint.block.slice(4);
        assert.is(first(rest), how === NEVER_INDEX ? 0x10 : 0, `${name} ${how}`);
      }
    }
  }
  for (const at of [2, 3]) {
    const fields = as(INDEX, GET).map((f, i): Sent =>
      i === at ? [f[0], "/secret", NEVER_INDEX] : f
    );
    if (at === 3) fields[3] = [":authority", "secret", NEVER_INDEX];
    endpoint.request(new Client().request(fields));
    endpoint.request(new Client().request(fields));
    assert.is(first(endpoint.block.slice(at)), 0x10, String(at));
  }
});

test("secrets are never kept by us, and their objects never shared", () => {
  const endpoint = new Endpoint();
  const client = new Client();
  const all = as(INDEX, [...GET, ["authorization", "Bearer abc"], ["cookie", "a=1"]]);
  for (let i = 0; i < 3; i++) endpoint.request(client.request(all));
  assert.is(client.sent, 6);
  assert.is((endpoint.block[4] as number) & 0xf0, 0x10);
  const field = (name: string, value: string) => {
    const buf = bytes(name + value);
    return hpackField(buf, 0, name.length, buf, name.length, buf.length);
  };
  assert.is(field("x-shared-object", "1"), field("x-shared-object", "1"));
  assert.is.not(field("authorization", "1"), field("authorization", "1"));
});

test("an entry that may stand in no message is refused each time it is named", () => {
  for (
    const [name, value] of [
      ...[["x-a", "a\0b"], ["x-a", " b"], ["x-a", "b\r\nc: d"], ["X-A", "b"], ["", "b"], [
        ":x",
        "b",
      ]],
      ...[["connection", "close"], ["transfer-encoding", "chunked"], ["te", "gzip"], ["a b", "c"]],
    ] as [string, string][]
  ) {
    const client = new Client();
    for (const how of [NO_INDEX, INDEX, INDEX]) {
      assert.is(client.refused([...as(INDEX, GET), [name, value, how]]), -1, JSON.stringify(name));
    }
    assert.is(client.request(as(INDEX, GET)).path, "/");
  }
  for (
    const [at, value] of [[0, "G T"], [0, ""], [1, "ftp"], [2, "a"], [2, "/ "], [3, "a b"], [
      3,
      "",
    ]] as const
  ) {
    const client = new Client();
    for (const how of [NO_INDEX, INDEX, INDEX]) {
      const fields = as(INDEX, GET).map((f, i): Sent => i === at ? [f[0], value, how] : f);
      assert.is(client.refused(fields), -1, `${GET[at]?.[0]} ${value}`);
    }
  }
});

test("a field that would take half of the table is not kept", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  const small: Fields = [...GET, ["x-a", "1"], ["x-b", "2"]];
  endpoint.request(client.request(as(INDEX, small)));
  const large = "x".repeat(3000);
  endpoint.request(client.request([...as(INDEX, GET), ["x-large", large, INDEX]]));
  endpoint.request(client.request([...as(INDEX, GET), ["x-large", large, NO_INDEX]]));
  endpoint.request(new Client().request(as(INDEX, small)));
  assert.is(endpoint.block.length, 6);
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

test("layers read the same, whatever form the fields came in; a table's string is made once", () => {
  const client = new Client();
  const name = headerName("x-once");
  const value = "v".repeat(300); // longer than what is interned
  const fields: Fields = [...GET.slice(0, 2), [":path", "/p"], [":authority", "h"], [
    "x-once",
    value,
  ]];
  for (const how of [NO_INDEX, INDEX, INDEX, NEVER_INDEX]) {
    const head = client.request(as(how, fields));
    assert.equal([head.method, head.path, head.authority], ["GET", "/p", "h"]);
    assert.is(head.get(name), value);
    assert.is(head.get(headerName("host")), "h");
    const at = head.find(name);
    assert.equal([head.nameAt(at), head.valueAt(at)], ["x-once", value]);
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

test("Host without an authority is it, in every form; beside one it must be the same", () => {
  const client = new Client();
  const endpoint = new Endpoint();
  for (const how of [INDEX, INDEX, NO_INDEX, NEVER_INDEX]) {
    const head = client.request([...as(INDEX, GET.slice(0, 3)), ["host", "h.test", how]]);
    assert.is(head.authority, "h.test");
    assert.equal(endpoint.request(head).at(-1), [":authority", "h.test"]);
    assert.is(client.refused([...as(INDEX, GET), ["host", "h.test", how]]), -1);
    assert.equal(endpoint.request(client.request([...as(how, GET), ["host", "a", how]])), GET);
  }
});

test("responses go back by index and status", () => {
  const server = new Client();
  const client = new Endpoint();
  const all: Fields = [[":status", "200"], ["content-type", "application/grpc"], ["x-b", "1"]];
  for (let i = 0; i < 3; i++) assert.equal(client.response(server.response(as(INDEX, all))), all);
  assert.is(client.block.length, 3);
  for (const status of ["204", "299", "503"]) {
    assert.equal(client.response(server.response([[":status", status, INDEX]])), [[
      ":status",
      status,
    ]]);
  }
});

test.run();
