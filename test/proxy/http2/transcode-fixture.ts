// A head on its way from one HTTP/2 connection to another, without sessions: a client's connection to us,
// and ours to an endpoint.

import * as assert from "uvu/assert";
import { RequestHead, ResponseHead } from "../../../src/core/head.ts";
import { INDEX, NEVER_INDEX, NO_INDEX } from "../../../src/proxy/http2/field-rules.ts";
import { type FieldSink, HpackDecoder } from "../../../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import { headReader } from "../../../src/proxy/http2/read-heads.ts";
import {
  blockRoom,
  requestBlockRoom,
  writeRequestBlock,
  writeResponseBlock,
} from "../../../src/proxy/http2/write-heads.ts";
import { decoded, type Fields } from "../../support/decoded.ts";
import type { Random } from "../../support/random.ts";

export const MAX = 64 * 1024;
export const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
export const GET: Fields = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [
  ":authority",
  "a",
]];

/** A field as a client means to send it. */
export type Sent = readonly [name: string, value: string, how: number];

export function encode(encoder: HpackEncoder, fields: readonly Sent[]): Uint8Array {
  const dst = new Uint8Array(1 << 17);
  let at = encoder.begin(dst, 0);
  for (const [name, value, how] of fields) {
    const buf = bytes(name + value);
    at = encoder.field(buf, 0, name.length, name.length, buf.length, dst, at, how);
  }
  return dst.slice(0, at);
}

/** One client's connection to us. */
export class Client {
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
export class Endpoint {
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

export const as = (how: number, fields: Fields): Sent[] => fields.map(([n, v]) => [n, v, how]);

/** What must arrive: crumbs in the place of the first, Host and what is of one hop left out. */
export function expected(fields: readonly Sent[]): Fields {
  const crumbs = fields.filter(([name]) => name === "cookie").map(([, value]) => value);
  const out: [string, string][] = [];
  for (const [name, value] of fields) {
    if (["host", "trailer", "te", "l5d-x"].includes(name)) continue;
    if (name !== "cookie") out.push([name, value]);
    else if (crumbs.length > 0) out.push([name, crumbs.splice(0).join("; ")]);
  }
  return out;
}

export function randomFields(random: Random): Sent[] {
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
