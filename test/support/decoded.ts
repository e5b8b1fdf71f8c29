// A header block as names and values, whatever form each field came in.

import type { FieldSink, HpackDecoder } from "../../src/proxy/http2/hpack-decoder.ts";
import { stringEnd } from "../../src/proxy/http2/hpack-string.ts";
import { huffmanDecode } from "../../src/proxy/http2/huffman.ts";

export type Fields = readonly (readonly [name: string, value: string])[];

/** One code unit per byte. */
export function latin1(buf: Uint8Array, from: number, to: number): string {
  return Array.from(buf.subarray(from, to), (b) => String.fromCharCode(b)).join("");
}

/** Decodes a whole block; null: it is malformed. */
export function decoded(decoder: HpackDecoder, block: Uint8Array): Fields | null {
  const fields: (readonly [string, string])[] = [];
  const sink: FieldSink = {
    known: (field) => void fields.push([field.name, field.value]),
    literal: (l) => {
      const value = latin1(l.buf, l.from, l.to);
      const from = l.packedName ? stringEnd(l.packed, l.packedFrom) : l.packedFrom;
      if (unpacked(l.packed, from, l.packedTo) !== value) {
        throw new Error("packed otherwise");
      }
      fields.push([latin1(l.nameBuf, 0, l.nameTo), value]);
    },
  };
  return decoder.decode(block, 0, block.length, sink) ? fields : null;
}

/** What a string of HPACK says (RFC 7541 §5.2). */
export function unpacked(buf: Uint8Array, from: number, to: number): string {
  let at = from + 1;
  let length = (buf[from] as number) & 0x7f;
  if (length === 0x7f) {
    for (let shift = 0;; shift += 7) {
      const byte = buf[at++] as number;
      length += (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
  }
  if (at + length !== to) throw new Error("a string of another length");
  if ((buf[from] as number) < 0x80) return latin1(buf, at, to);
  const out = new Uint8Array(length * 2);
  return latin1(out, 0, huffmanDecode(buf, at, to, out, 0));
}
