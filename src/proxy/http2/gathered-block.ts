// A header block that comes in more than one frame, put together within bounds. Below session.ts.

import type { Frame } from "./frames.ts";

/** Frames of one block: an honest one of 64 KiB has four. */
const MAX_FRAMES = 128;

export class GatheredBlock {
  readonly #maxBytes: number;
  /** Whose block is open; 0: none. */
  stream = 0;
  /** END_STREAM came with its HEADERS. */
  end = false;
  buf: Uint8Array = EMPTY;
  length = 0;
  #frames = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Begins with a HEADERS frame, which `add` then takes like the others. */
  begin(stream: number, end: boolean): void {
    this.stream = stream;
    this.end = end;
    this.length = this.#frames = 0;
  }

  /** Takes a frame's payload; false: the block is over its bounds. */
  add(frame: Frame, from: Uint8Array): boolean {
    const need = this.length + frame.to - frame.from;
    if (++this.#frames > MAX_FRAMES || need > this.#maxBytes) return false;
    if (this.buf.length < need) {
      const grown = new Uint8Array(Math.max(need, 2 * this.buf.length));
      grown.set(this.buf.subarray(0, this.length));
      this.buf = grown;
    }
    this.buf.set(from.subarray(frame.from, frame.to), this.length);
    this.length = need;
    return true;
  }

  /** The block was used, or never will be. */
  clear(): void {
    this.stream = 0;
    this.buf = EMPTY;
  }
}

const EMPTY = new Uint8Array(0);
