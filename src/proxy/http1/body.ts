// Bodies of HTTP/1 messages, read: by length, in chunks (RFC 9112 §7.1), until close.

import type { Sink } from "../../core/exchange.ts";
import { CHUNKED, UNTIL_CLOSE } from "./codes.ts";

/** `read` found bytes that are not a chunk. */
export const BAD_CHUNK = -1;

/** States of the chunk reader. */
const SIZE = 0; // in the hexadecimal size
const EXTENSION = 1; // after it, skipped
const SIZE_LF = 2; // after the CR of a size line
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER = 6; // at the start of a trailer line
const TRAILER_LINE = 7;
const TRAILER_LF = 8;
const END_LF = 9; // after the CR of the last, empty line

const MAX_EXTENSION_BYTES = 4096;
const MAX_TRAILER_BYTES = 16 * 1024;

/** Takes a body apart and pushes it into a sink. One per direction of a connection, used again. */
export class BodyReader {
  /** Bytes left of a body with length, or of the chunk. */
  #left = 0;
  #kind = 0;
  #state = SIZE;
  #digits = 0;
  #skipped = 0;
  done = true;
  /** Trailer fields with their line ends, after the last chunk. */
  readonly trailers: number[] = [];
  /** The sink asked to stop; the caller stops feeding until it is woken. */
  blocked = false;

  /** `length` as in `Head.bodyLength`. */
  begin(length: number): void {
    this.#kind = length < 0 ? length : 0;
    this.#left = length < 0 ? 0 : length;
    this.#state = SIZE;
    this.#digits = 0;
    this.#skipped = 0;
    this.blocked = false;
    this.done = length === 0;
    if (this.trailers.length > 0) this.trailers.length = 0;
  }

  /** True when the connection's end is the body's end. */
  get untilClose(): boolean {
    return this.#kind === UNTIL_CLOSE;
  }

  /** Pushes what belongs to the body; returns how many bytes that were, or `BAD_CHUNK`. */
  read(buf: Uint8Array, from: number, to: number, sink: Sink): number {
    if (this.#kind === CHUNKED) return this.#readChunks(buf, from, to, sink);
    const n = this.#kind === UNTIL_CLOSE ? to - from : Math.min(this.#left, to - from);
    if (this.#kind !== UNTIL_CLOSE) {
      this.#left -= n;
      this.done = this.#left === 0;
    }
    if (n > 0 && !sink.data(buf, from, from + n)) this.blocked = true;
    return n;
  }

  #readChunks(buf: Uint8Array, from: number, to: number, sink: Sink): number {
    let p = from;
    while (p < to && !this.blocked) {
      const c = buf[p] as number;
      switch (this.#state) {
        case SIZE: {
          const digit = hex(c);
          if (digit >= 0) {
            // 8 digits are 4 GiB; longer sizes are an overflow attempt
            if (++this.#digits > 8) return BAD_CHUNK;
            this.#left = this.#left * 16 + digit;
          } else if (this.#digits === 0) return BAD_CHUNK;
          else if (c === 13) this.#state = SIZE_LF;
          else if (c === 59 || c === 32 || c === 9) this.#state = EXTENSION;
          else return BAD_CHUNK;
          p++;
          break;
        }
        case EXTENSION:
          if (c === 10 || ++this.#skipped > MAX_EXTENSION_BYTES) return BAD_CHUNK;
          if (c === 13) this.#state = SIZE_LF;
          p++;
          break;
        case SIZE_LF:
          if (c !== 10) return BAD_CHUNK;
          this.#digits = 0;
          this.#skipped = 0;
          this.#state = this.#left === 0 ? TRAILER : DATA;
          p++;
          break;
        case DATA: {
          const n = Math.min(this.#left, to - p);
          this.#left -= n;
          if (this.#left === 0) this.#state = DATA_CR;
          if (!sink.data(buf, p, p + n)) this.blocked = true;
          p += n;
          break;
        }
        case DATA_CR:
          if (c !== 13) return BAD_CHUNK;
          this.#state = DATA_LF;
          p++;
          break;
        case DATA_LF:
          if (c !== 10) return BAD_CHUNK;
          this.#state = SIZE;
          p++;
          break;
        case TRAILER:
          this.#state = c === 13 ? END_LF : TRAILER_LINE;
          if (c !== 13) this.trailers.push(c);
          p++;
          if (c === 10) return BAD_CHUNK;
          break;
        case TRAILER_LINE:
          if (c === 10 || ++this.#skipped > MAX_TRAILER_BYTES) return BAD_CHUNK;
          if (c === 13) this.#state = TRAILER_LF;
          else this.trailers.push(c);
          p++;
          break;
        case TRAILER_LF:
          if (c !== 10) return BAD_CHUNK;
          this.trailers.push(13, 10);
          this.#state = TRAILER;
          p++;
          break;
        case END_LF:
          if (c !== 10) return BAD_CHUNK;
          this.done = true;
          return p + 1 - from;
      }
    }
    return p - from;
  }
}

function hex(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const lower = c | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
