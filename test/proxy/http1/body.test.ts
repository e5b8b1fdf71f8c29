import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Sink } from "../../../src/core/exchange.ts";
import { BAD_CHUNK, BodyReader } from "../../../src/proxy/http1/body.ts";
import { writeChunkSize } from "../../../src/proxy/http1/chunks.ts";
import { CHUNKED, UNTIL_CLOSE } from "../../../src/proxy/http1/codes.ts";
import { seeded } from "../../support/random.ts";

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

function collector(stop = false): Sink & { text: string } {
  return {
    text: "",
    wake: null,
    data(buf, from, to) {
      for (let i = from; i < to; i++) this.text += String.fromCharCode(buf[i] as number);
      return !stop;
    },
    end() {},
    abort() {},
  };
}

/** Feeds in pieces; returns what came out, what was left, and whether it was refused. */
function read(
  length: number,
  pieces: readonly Uint8Array[],
): { text: string; rest: number; bad: boolean; done: boolean } {
  const reader = new BodyReader();
  reader.begin(length);
  const sink = collector();
  let rest = 0;
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length && !reader.done) {
      const n = reader.read(piece, at, piece.length, sink);
      if (n === BAD_CHUNK) return { text: sink.text, rest: 0, bad: true, done: false };
      at += n;
    }
    rest += piece.length - at;
  }
  return { text: sink.text, rest, bad: false, done: reader.done };
}

const CHUNKS =
  '5\r\nhello\r\n1;ext="a b"\r\n \r\n00000005\r\nworld\r\n0\r\nX-Trailer: 1\r\nY: 2\r\n\r\n';

test("BodyReader reads a body with a length and leaves what follows", () => {
  assert.equal(read(5, [bytes("helloGET")]), { text: "hello", rest: 3, bad: false, done: true });
  assert.equal(read(0, []), { text: "", rest: 0, bad: false, done: true });
});

test("BodyReader reads chunks, extensions and trailers in one piece", () => {
  assert.equal(read(CHUNKED, [bytes(CHUNKS + "NEXT")]), {
    text: "hello world",
    rest: 4,
    bad: false,
    done: true,
  });
});

test("BodyReader reads chunks byte by byte", () => {
  const pieces = [...bytes(CHUNKS + "NEXT")].map((b) => Uint8Array.of(b));
  assert.equal(read(CHUNKED, pieces), { text: "hello world", rest: 4, bad: false, done: true });
});

test("BodyReader gives the same for all random cuts", () => {
  const random = seeded(11);
  for (let i = 0; i < 500; i++) {
    const got = read(CHUNKED, random.pieces(bytes(CHUNKS + "NEXT"), 9));
    assert.equal(got, { text: "hello world", rest: 4, bad: false, done: true });
  }
});

test("BodyReader refuses chunks that are not well-formed", () => {
  for (
    const bad of [
      "g\r\n",
      "\r\n",
      "-1\r\n",
      "0x5\r\nhello\r\n",
      "5\nhello\r\n",
      "5\r\nhelloX\r\n",
      "5\r\nhello\n",
      "100000000\r\n",
      "5;a\nb\r\nhello\r\n",
      "0\r\n\n",
      "0\r\nX: 1\nY: 2\r\n\r\n",
      `5;${"x".repeat(5000)}\r\n`,
      `0\r\nX: ${"x".repeat(20000)}\r\n`,
    ]
  ) assert.ok(read(CHUNKED, [bytes(bad)]).bad, JSON.stringify(bad.slice(0, 30)));
});

test("BodyReader stops when the sink asks to, without losing a byte", () => {
  const reader = new BodyReader();
  reader.begin(CHUNKED);
  const sink = collector(true);
  const all = bytes(CHUNKS);
  let at = 0;
  let stops = 0;
  while (!reader.done) {
    at += reader.read(all, at, all.length, sink);
    if (reader.blocked) stops++;
    reader.blocked = false;
  }
  assert.is(sink.text, "hello world");
  assert.is(stops, 3);
});

test("BodyReader reads until close", () => {
  assert.equal(read(UNTIL_CLOSE, [bytes("ab"), bytes("cd")]), {
    text: "abcd",
    rest: 0,
    bad: false,
    done: false,
  });
});

test("writeChunkSize() writes what BodyReader reads", () => {
  for (const size of [1, 15, 16, 255, 4096, 65535, 1048576]) {
    const buf = new Uint8Array(16);
    const to = writeChunkSize(size, buf, 0);
    assert.is(String.fromCharCode(...buf.subarray(0, to)), size.toString(16) + "\r\n");
  }
});

test.run();
