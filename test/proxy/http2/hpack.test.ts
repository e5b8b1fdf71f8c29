import * as http2 from "node:http2";
import * as net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { INDEX, NEVER_INDEX, NO_INDEX } from "../../../src/proxy/http2/field-rules.ts";
import { HpackDecoder, MAX_BLOCK_BYTES } from "../../../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import {
  CONTINUATION,
  Frame,
  HEADERS,
  NO_ERROR,
  PREFACE,
} from "../../../src/proxy/http2/frames.ts";
import { huffmanDecode, huffmanEncode, huffmanLength } from "../../../src/proxy/http2/huffman.ts";
import { decoded, type Fields } from "../../support/decoded.ts";
import { fuzzSeed, seeded } from "../../support/random.ts";

const hex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (b) => parseInt(b, 16));
const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

function encode(encoder: HpackEncoder, fields: Fields, how = INDEX): Uint8Array {
  const dst = new Uint8Array(1 << 17);
  let at = encoder.begin(dst, 0);
  for (const [name, value] of fields) {
    const buf = bytes(name + value);
    at = encoder.field(buf, 0, name.length, name.length, buf.length, dst, at, how);
  }
  return dst.slice(0, at);
}

test("the requests of RFC 7541 appendices C.3 and C.4 decode", () => {
  const series = [
    [
      "828684410f7777772e6578616d706c652e636f6d",
      "828684be58086e6f2d6361636865",
      "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ],
    [
      "828684418cf1e3c2e5f23a6ba0ab90f4ff",
      "828684be5886a8eb10649cbf",
      "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ],
  ];
  for (const blocks of series) {
    const decoder = new HpackDecoder();
    const got = blocks.map((b) => decoded(decoder, hex(b)));
    assert.equal(got, [
      [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "www.example.com"]],
      [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "www.example.com"], [
        "cache-control",
        "no-cache",
      ]],
      [[":method", "GET"], [":scheme", "https"], [":path", "/index.html"], [
        ":authority",
        "www.example.com",
      ], ["custom-key", "custom-value"]],
    ]);
  }
});

test("the encoder writes the bytes of RFC 7541 appendix C.4", () => {
  const encoder = new HpackEncoder();
  const block = encode(encoder, [[":method", "GET"], [":scheme", "http"], [":path", "/"], [
    ":authority",
    "www.example.com",
  ]]);
  assert.equal(block, hex("828684418cf1e3c2e5f23a6ba0ab90f4ff"));
});

test("a never indexed literal decodes and is not kept", () => {
  const decoder = new HpackDecoder();
  const secret: Fields = [["password", "secret"]];
  assert.equal(decoded(decoder, hex("100870617373776f726406736563726574")), secret);
  assert.is(decoded(decoder, hex("be")), null);
  assert.is((encode(new HpackEncoder(), secret, NEVER_INDEX)[0] as number) & 0xf0, 0x10);
});

test("malformed blocks are refused", () => {
  const blocks = {
    "index 0": "80",
    "index past both tables": "be",
    "a size update after a field": "8220",
    "a size update over the promised size": "3fe2ff03",
    "an integer without end": "ffffffffffffffff",
    "a string past the block": "400a6162",
    "a name without value": "400161",
    "padding of zeros": "40816100",
    "eight bits of padding": "4081ff00",
    "EOS in a string": "4084ffffffff00",
  };
  for (const [what, block] of Object.entries(blocks)) {
    assert.is(decoded(new HpackDecoder(), hex(block)), null, what);
  }
  assert.is(decoded(new HpackDecoder(), new Uint8Array(MAX_BLOCK_BYTES + 1).fill(0x82)), null);
});

test("every byte goes through the Huffman code and back", () => {
  const random = seeded(fuzzSeed("huffman"));
  for (let i = 0; i < 500; i++) {
    const src = random.bytes(random.int(0, 300));
    const packed = new Uint8Array(huffmanLength(src, 0, src.length));
    assert.is(huffmanEncode(src, 0, src.length, packed, 0), packed.length);
    const out = new Uint8Array(src.length);
    assert.is(huffmanDecode(packed, 0, packed.length, out, 0), src.length);
    assert.equal(out, src);
  }
});

test("encoder and decoder agree over many blocks, evictions and size updates", () => {
  const random = seeded(fuzzSeed("hpack encoder"));
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder();
  for (let i = 0; i < 2000; i++) {
    if (random.int(0, 20) === 0) encoder.limit(random.int(0, 5000));
    if (random.int(0, 40) === 0) encoder.limit(random.int(0, 5000));
    const fields: (readonly [string, string])[] = [];
    for (let k = random.int(0, 8); k > 0; k--) {
      const name = random.pick([":path", "x-a", "cookie", `x-${random.int(0, 99)}`]);
      fields.push([name, String(random.int(0, 50)).repeat(random.int(0, random.pick([3, 900])))]);
    }
    const block = encode(encoder, fields, random.pick([INDEX, INDEX, NO_INDEX, NEVER_INDEX]));
    assert.equal(decoded(decoder, block), fields);
  }
});

test("random bytes never throw and keep the decoder usable or refused", () => {
  const random = seeded(fuzzSeed("hpack decoder"));
  for (let i = 0; i < 3000; i++) {
    const decoder = new HpackDecoder();
    for (let k = 0; k < 4; k++) decoded(decoder, random.bytes(random.int(0, 120)));
  }
});

test("blocks that the runtime's own HTTP/2 client writes decode to its fields", async () => {
  const sent = Array.from({ length: 20 }, (_, i) => ({
    ":path": `/item/${i % 7}`,
    "x-n": String(i % 3),
    "user-agent": "capture",
    "x-bytes": "~{}|é".repeat(i),
  }));
  const got = await new Promise<Fields[]>((resolve, reject) => {
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.write(hex("000000040000000000"));
      const decoder = new HpackDecoder();
      const frame = new Frame();
      let held: Uint8Array = new Uint8Array(0);
      let skip = PREFACE.length;
      let block: number[] = [];
      const blocks: Fields[] = [];
      socket.on("data", (chunk: Uint8Array) => {
        held = Uint8Array.from([...held, ...chunk]);
        let at = skip;
        if (held.length < at) return;
        while (held.length - at >= 9) {
          frame.read(held, at);
          if (held.length < frame.to) break;
          at = frame.to;
          if (frame.check(16384) !== NO_ERROR) return reject(new Error("a wrong frame"));
          if (frame.type !== HEADERS && frame.type !== CONTINUATION) continue;
          if (frame.type === HEADERS) frame.unpad(held);
          block.push(...held.subarray(frame.from, frame.to));
          if ((frame.flags & 4) === 0) continue;
          blocks.push(decoded(decoder, Uint8Array.from(block)) ?? []);
          block = [];
        }
        held = held.slice(at);
        skip = 0;
        if (blocks.length < sent.length) return;
        client.destroy();
        socket.destroy();
        server.close(() => resolve(blocks));
      });
    });
    let client: http2.ClientHttp2Session;
    server.listen(0, "127.0.0.1", () => {
      client = http2.connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
      client.on("error", () => {});
      for (const headers of sent) client.request(headers).on("error", () => {}).end();
    });
  });
  for (const [i, headers] of sent.entries()) {
    const fields = new Map(got[i]);
    for (const [name, value] of Object.entries(headers)) {
      if (name !== "x-bytes") assert.is(fields.get(name), value);
      else assert.is(fields.get(name)?.startsWith("~{}|".slice(0, i * 4)), true);
    }
  }
});

test.run();
