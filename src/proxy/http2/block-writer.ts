// Header blocks out: one HEADERS frame, and CONTINUATION when it is too long for one. Fields are
// encoded straight into the channel's output. Below session.ts; write-heads.ts fills the blocks.

import type { Chan, Driver, Out } from "../../core/driver.ts";
import {
  CONTINUATION,
  DEFAULT_MAX_FRAME_BYTES,
  END_HEADERS,
  END_STREAM,
  FRAME_HEADER_BYTES,
  HEADERS,
  writeFrameHeader,
} from "./frames.ts";
import { HpackEncoder } from "./hpack-encoder.ts";

/** At most two size updates, at the beginning of a block. */
const UPDATE_BYTES = 16;

export class BlockWriter {
  readonly encoder = new HpackEncoder();
  readonly #driver: Driver;
  #begin = 0;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** Room for a block of so many bytes; fields go to `out.at` on. */
  open(ch: Chan, bytes: number): Out {
    const frames = Math.ceil(bytes / DEFAULT_MAX_FRAME_BYTES) + 1;
    const out = this.#driver.reserve(ch, bytes + frames * FRAME_HEADER_BYTES + UPDATE_BYTES);
    this.#begin = out.at;
    out.at = this.encoder.begin(out.buf, out.at + FRAME_HEADER_BYTES);
    return out;
  }

  /** Sends the block that ends at `to`; false: the channel is full. */
  close(ch: Chan, id: number, out: Out, to: number, end: boolean): boolean {
    const max = DEFAULT_MAX_FRAME_BYTES;
    const start = this.#begin;
    const from = start + FRAME_HEADER_BYTES;
    const length = to - from;
    const { buf } = out;
    const pieces = Math.max(1, Math.ceil(length / max));
    // the last piece moves first, since each frame's header pushes the rest on
    for (let i = pieces - 1; i >= 0; i--) {
      const at = from + i * max;
      const n = Math.min(max, to - at);
      if (i > 0) buf.copyWithin(at + i * FRAME_HEADER_BYTES, at, at + n);
      const flags = (i === pieces - 1 ? END_HEADERS : 0) | (i === 0 && end ? END_STREAM : 0);
      const header = start + i * (max + FRAME_HEADER_BYTES);
      writeFrameHeader(buf, header, n, i === 0 ? HEADERS : CONTINUATION, flags, id);
    }
    return this.#driver.commit(ch, length + pieces * FRAME_HEADER_BYTES);
  }
}
