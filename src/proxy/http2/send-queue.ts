// What an HTTP/2 connection sends of bodies: the peer's windows, and whose turn it is when they or
// the channel are short (one frame each, round robin). Below session.ts, which makes all other frames.

import type { Chan, Driver } from "../../core/driver.ts";
import {
  DATA,
  DEFAULT_MAX_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  END_STREAM,
  FRAME_HEADER_BYTES,
  MAX_WINDOW_BYTES,
  writeFrameHeader,
} from "./frames.ts";
import type { Http2Stream } from "./stream.ts";

export class SendQueue {
  readonly #driver: Driver;
  /** What streams begin with (the peer's SETTINGS_INITIAL_WINDOW_SIZE). */
  initialWindow = DEFAULT_WINDOW_BYTES;
  /** The connection's window. */
  window = DEFAULT_WINDOW_BYTES;
  /** The channel is over its high-water mark. */
  full = false;
  /** DATA frames sent. */
  frames = 0;
  #ch: Chan = 0;
  /** Streams that wait for their turn: a ring, of which this is the next. */
  #turn: Http2Stream | null = null;
  #pumping = false;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  open(ch: Chan): void {
    this.#ch = ch;
  }

  /** Takes all bytes. False: send no more until the stream's `onWritable`. */
  data(stream: Http2Stream, buf: Uint8Array, from: number, to: number, end: boolean): boolean {
    if (stream.pendingFrom === stream.pendingTo && !this.full && this.#turn === null) {
      while (from < to) {
        const n = Math.min(to - from, stream.sendWindow, this.window, DEFAULT_MAX_FRAME_BYTES);
        if (n <= 0) break;
        this.#frame(stream, buf, from, n, end && from + n === to);
        from += n;
      }
      if (from === to) {
        if (!this.full || end) return true;
        stream.waits = true;
        this.#enqueue(stream);
        return false;
      }
    }
    if (stream.pendingFrom === stream.pendingTo) stream.movedMs = this.#driver.now;
    stream.hold(buf, from, to);
    stream.endsAfter = end;
    stream.waits = true;
    // Outside of `pump` the ring holds only what waits for the connection or the channel.
    if (stream.sendWindow > 0) this.#enqueue(stream);
    return false;
  }

  /** Ends our direction with an empty frame, or with the last byte that is pending. */
  end(stream: Http2Stream): void {
    if (stream.pendingFrom < stream.pendingTo) {
      stream.endsAfter = true;
      return;
    }
    this.#frame(stream, stream.pending, 0, 0, true);
  }

  /** More window for a stream; false: over the largest there may be. */
  grow(stream: Http2Stream, bytes: number): boolean {
    if (stream.sendWindow + bytes > MAX_WINDOW_BYTES) return false;
    stream.sendWindow += bytes;
    if (stream.pendingFrom < stream.pendingTo && stream.sendWindow > 0) this.#enqueue(stream);
    return true;
  }

  /** More window for the connection; false: over the largest there may be. */
  growConnection(bytes: number): boolean {
    if (this.window + bytes > MAX_WINDOW_BYTES) return false;
    this.window += bytes;
    return true;
  }

  /** The stream is over: what it had pending is dropped. */
  forget(stream: Http2Stream): void {
    stream.pendingFrom = stream.pendingTo = 0;
    stream.waits = false;
    this.#dequeue(stream);
  }

  /** Sends what windows and channel allow. `ended` is told of each stream whose END_STREAM went out. */
  pump(ended: (stream: Http2Stream) => void): void {
    if (this.#pumping) return; // from inside `onWritable`: the loop below sees to it
    this.#pumping = true;
    while (this.#turn !== null && !this.full) {
      const stream = this.#turn;
      const left = stream.pendingTo - stream.pendingFrom;
      if (left > 0) {
        const n = Math.min(left, stream.sendWindow, this.window, DEFAULT_MAX_FRAME_BYTES);
        if (n <= 0) {
          if (stream.sendWindow > 0) break; // the connection's window is used up
          this.#dequeue(stream);
          continue;
        }
        const last = n === left;
        this.#frame(stream, stream.pending, stream.pendingFrom, n, last && stream.endsAfter);
        stream.pendingFrom += n;
        stream.movedMs = this.#driver.now;
        this.#turn = stream.next;
        if (!last) continue;
        stream.pendingFrom = stream.pendingTo = 0;
      }
      this.#dequeue(stream);
      if (stream.localEnded) {
        ended(stream);
      } else if (stream.waits) {
        stream.waits = false;
        stream.onWritable();
      }
    }
    this.#pumping = false;
  }

  #frame(stream: Http2Stream, buf: Uint8Array, from: number, n: number, end: boolean): void {
    const out = this.#driver.reserve(this.#ch, FRAME_HEADER_BYTES + n);
    const at = writeFrameHeader(out.buf, out.at, n, DATA, end ? END_STREAM : 0, stream.id);
    if (n < 64) { for (let i = 0; i < n; i++) out.buf[at + i] = buf[from + i] as number; }
    else out.buf.set(buf.subarray(from, from + n), at);
    stream.sendWindow -= n;
    this.window -= n;
    this.frames++;
    if (end) stream.localEnded = true;
    if (!this.#driver.commit(this.#ch, FRAME_HEADER_BYTES + n)) this.full = true;
  }

  #enqueue(stream: Http2Stream): void {
    if (stream.queued) return;
    stream.queued = true;
    const first = this.#turn;
    if (first === null) {
      stream.next = stream.prev = this.#turn = stream;
      return;
    }
    const last = first.prev as Http2Stream;
    last.next = first.prev = stream;
    stream.prev = last;
    stream.next = first;
  }

  #dequeue(stream: Http2Stream): void {
    if (!stream.queued) return;
    stream.queued = false;
    const next = stream.next as Http2Stream;
    if (next === stream) this.#turn = null;
    else {
      const prev = stream.prev as Http2Stream;
      prev.next = next;
      next.prev = prev;
      if (this.#turn === stream) this.#turn = next;
    }
    stream.next = stream.prev = null;
  }
}
