// Chunks, written (RFC 9112 §7.1): the framing of bodies whose length is not known, in both directions.

import type { Chan, Driver } from "../../core/driver.ts";

/** Longest frame around data: size line and the CR LF after it. */
const CHUNK_OVERHEAD = 12;
/** Data up to this size is framed and copied in one piece. */
const COPY_BYTES = 16 * 1024;
const LAST_CHUNK = new TextEncoder().encode("0\r\n\r\n");
const CRLF = new Uint8Array([13, 10]);

/** Sends one chunk. As `driver.send`: false when the channel is over its high-water mark. */
export function sendChunk(
  driver: Driver,
  ch: Chan,
  buf: Uint8Array,
  from: number,
  to: number,
): boolean {
  const n = to - from;
  if (n === 0) return true; // an empty chunk would end the body
  const out = driver.reserve(ch, n <= COPY_BYTES ? n + CHUNK_OVERHEAD : CHUNK_OVERHEAD);
  const start = out.at;
  const at = writeChunkSize(n, out.buf, start);
  if (n > COPY_BYTES) {
    driver.commit(ch, at - start);
    driver.send(ch, buf, from, to);
    return driver.send(ch, CRLF, 0, 2);
  }
  out.buf.set(buf.subarray(from, to), at);
  out.buf[at + n] = 13;
  out.buf[at + n + 1] = 10;
  return driver.commit(ch, at + n + 2 - start);
}

/** Ends a chunked body, without trailers. */
export function sendLastChunk(driver: Driver, ch: Chan): void {
  driver.send(ch, LAST_CHUNK, 0, LAST_CHUNK.length);
}

/** Writes the size line of a chunk; returns where it ended. */
export function writeChunkSize(size: number, buf: Uint8Array, at: number): number {
  let shift = 28;
  while (shift > 0 && size >>> shift === 0) shift -= 4;
  for (; shift >= 0; shift -= 4) {
    const digit = (size >>> shift) & 15;
    buf[at++] = digit < 10 ? 48 + digit : 87 + digit;
  }
  buf[at++] = 13;
  buf[at++] = 10;
  return at;
}
