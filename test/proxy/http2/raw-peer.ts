// The other end of an HTTP/2 connection in a test's hands: frames by number, header blocks by name, and
// what came back as plain values. Follows no rule by itself, so that a test can break each.

import * as f from "../../../src/proxy/http2/frames.ts";
import { NO_INDEX } from "../../../src/proxy/http2/field-rules.ts";
import { HpackDecoder } from "../../../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import { decoded, type Fields } from "../../support/decoded.ts";
import type { MemoryDriver, TestPeer } from "../../support/memory-driver.ts";

export type { Fields };

/** A frame that came back. */
export interface Got {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
  /** Of a header block. */
  readonly fields: Record<string, string>;
}

export const GET: Fields = [
  [":method", "GET"],
  [":scheme", "http"],
  [":authority", "a.test"],
  [":path", "/"],
];
export const POST: Fields = [[":method", "POST"], ...GET.slice(1)];

/** One frame's bytes. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array | readonly number[] = [],
): Uint8Array {
  const out = new Uint8Array(9 + payload.length);
  f.writeFrameHeader(out, 0, payload.length, type, flags, stream);
  out.set(payload, 9);
  return out;
}

/** Four bytes. */
export function u32(n: number): number[] {
  return [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
}

export class RawPeer {
  readonly driver: MemoryDriver;
  readonly peer: TestPeer;
  readonly #encoder = new HpackEncoder();
  readonly #decoder = new HpackDecoder();

  constructor(driver: MemoryDriver, peer: TestPeer) {
    this.driver = driver;
    this.peer = peer;
  }

  send(...frames: Uint8Array[]): this {
    for (const one of frames) this.driver.feed(this.peer, one);
    return this;
  }

  /** Preface, SETTINGS with `settings`, and the ACK of the server's. */
  hello(settings: readonly number[] = []): this {
    this.send(
      f.PREFACE,
      frame(f.SETTINGS, 0, 0, settings),
      frame(f.SETTINGS, f.ACK, 0),
    );
    this.take();
    return this;
  }

  block(fields: Fields): Uint8Array {
    const out = new Uint8Array(200_000);
    let at = this.#encoder.begin(out, 0);
    for (const [name, value] of fields) {
      const bytes = Uint8Array.from(name + value, (c) => c.charCodeAt(0));
      const middle = name.length;
      at = this.#encoder.field(bytes, 0, middle, middle, bytes.length, out, at, NO_INDEX);
    }
    return out.slice(0, at);
  }

  headers(stream: number, fields: Fields, end = true): this {
    const flags = f.END_HEADERS | (end ? f.END_STREAM : 0);
    return this.send(frame(f.HEADERS, flags, stream, this.block(fields)));
  }

  data(stream: number, bytes: number | string, end = false): this {
    const payload = typeof bytes === "string"
      ? Uint8Array.from(bytes, (c) => c.charCodeAt(0))
      : new Uint8Array(bytes).fill(0x78);
    return this.send(frame(f.DATA, end ? f.END_STREAM : 0, stream, payload));
  }

  window(stream: number, bytes: number): this {
    return this.send(frame(f.WINDOW_UPDATE, 0, stream, u32(bytes)));
  }

  rst(stream: number, code: number = f.CANCEL): this {
    return this.send(frame(f.RST_STREAM, 0, stream, u32(code)));
  }

  /** All frames since the last call. CONTINUATION is joined to its HEADERS. */
  take(): Got[] {
    const bytes = Uint8Array.from(this.peer.take(), (c) => c.charCodeAt(0));
    const got: Got[] = [];
    const one = new f.Frame();
    for (let at = 0; at < bytes.length; at = one.to) {
      one.read(bytes, at);
      const last = got.at(-1);
      if (one.type === f.CONTINUATION && last !== undefined) {
        const joined = new Uint8Array([...last.payload, ...bytes.subarray(one.from, one.to)]);
        got[got.length - 1] = { ...last, payload: joined, flags: last.flags | one.flags };
        continue;
      }
      const payload = bytes.slice(one.from, one.to);
      got.push({ type: one.type, flags: one.flags, stream: one.stream, payload, fields: {} });
    }
    return got.map((g) => g.type === f.HEADERS ? { ...g, fields: this.#fields(g.payload) } : g);
  }

  /** Frames of a type since the last call. */
  only(type: number): Got[] {
    return this.take().filter((g) => g.type === type);
  }

  #fields(block: Uint8Array): Record<string, string> {
    const fields: Record<string, string> = {};
    const all = decoded(this.#decoder, block);
    if (all === null) throw new Error("the peer sent a block that is not HPACK");
    for (const [name, value] of all) {
      fields[name] = name in fields ? `${fields[name]}, ${value}` : value;
    }
    return fields;
  }
}

/** The text of DATA frames of a stream. */
export function body(got: readonly Got[], stream: number): string {
  return got.filter((g) => g.type === f.DATA && g.stream === stream)
    .map((g) => String.fromCharCode(...g.payload)).join("");
}

/** The error code of a frame that has one. */
export function codeOf(g: Got | undefined): number {
  return g === undefined ? -1 : f.readU32(g.payload, g.type === f.GOAWAY ? 4 : 0);
}
