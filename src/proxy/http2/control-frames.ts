// The frames of a connection that carry no message: SETTINGS, PING, GOAWAY, RST_STREAM, WINDOW_UPDATE,
// written; and how many of them a peer that does not read has made us keep. Below session.ts.

import type { Chan, Driver } from "../../core/driver.ts";
import * as f from "./frames.ts";
import type { SendQueue } from "./send-queue.ts";

/** Streams that we reset lately: what still comes for them is ignored (RFC 9113 §5.1). */
const RECENT = 512;
/** Control frames that a peer which does not read may make us keep. */
const MAX_UNREAD_FRAMES = 1000;

export class ControlFrames {
  readonly #driver: Driver;
  readonly #queue: SendQueue;
  #ch: Chan = 0;
  #recent: Int32Array | null = null;
  #recentAt = 0;
  #unread = 0;

  constructor(driver: Driver, queue: SendQueue) {
    this.#driver = driver;
    this.#queue = queue;
  }

  /** The first frames: a client's preface, our SETTINGS, and more window for the connection. */
  open(
    ch: Chan,
    client: boolean,
    settings: readonly (readonly [id: number, value: number])[],
    moreWindow: number,
  ): void {
    this.#ch = ch;
    const out = this.#driver.reserve(ch, f.PREFACE.length + 9 + settings.length * 6 + 13);
    const { buf } = out;
    let at = out.at;
    if (client) {
      buf.set(f.PREFACE, at);
      at += f.PREFACE.length;
    }
    at = f.writeFrameHeader(buf, at, settings.length * 6, f.SETTINGS, 0, 0);
    for (const [id, value] of settings) {
      buf[at++] = 0;
      buf[at++] = id;
      at = f.writeU32(buf, at, value);
    }
    if (moreWindow > 0) {
      at = f.writeFrameHeader(buf, at, 4, f.WINDOW_UPDATE, 0, 0);
      at = f.writeU32(buf, at, moreWindow);
    }
    this.#driver.commit(ch, at - out.at);
  }

  /** Whether the peer reads so little that nothing more may be said to it. */
  get stuffed(): boolean {
    return this.#queue.full && this.#unread > MAX_UNREAD_FRAMES;
  }

  /** The channel takes bytes again. */
  read(): void {
    this.#unread = 0;
  }

  ackSettings(): void {
    const out = this.#driver.reserve(this.#ch, f.FRAME_HEADER_BYTES);
    f.writeFrameHeader(out.buf, out.at, 0, f.SETTINGS, f.ACK, 0);
    this.#commit(f.FRAME_HEADER_BYTES);
  }

  windowUpdate(id: number, bytes: number): void {
    this.#number(f.WINDOW_UPDATE, id, bytes);
  }

  reset(id: number, code: number): void {
    this.#recent ??= new Int32Array(RECENT);
    this.#recent[this.#recentAt++ & (RECENT - 1)] = id;
    this.#number(f.RST_STREAM, id, code);
  }

  /** Whether we reset this stream lately. */
  wasReset(id: number): boolean {
    return this.#recent !== null && this.#recent.includes(id);
  }

  goAway(last: number, code: number): void {
    const out = this.#driver.reserve(this.#ch, 17);
    const at = f.writeFrameHeader(out.buf, out.at, 8, f.GOAWAY, 0, 0);
    f.writeU32(out.buf, f.writeU32(out.buf, at, last), code);
    this.#commit(17);
  }

  ping(): void {
    const out = this.#driver.reserve(this.#ch, 17);
    const at = f.writeFrameHeader(out.buf, out.at, 8, f.PING, 0, 0);
    out.buf.fill(0x74, at, at + 8);
    this.#commit(17);
  }

  /** Answers a PING whose eight bytes are at `from`. */
  pong(buf: Uint8Array, from: number): void {
    const out = this.#driver.reserve(this.#ch, 17);
    const at = f.writeFrameHeader(out.buf, out.at, 8, f.PING, f.ACK, 0);
    for (let i = 0; i < 8; i++) out.buf[at + i] = buf[from + i] as number;
    this.#commit(17);
  }

  #number(type: number, id: number, value: number): void {
    const out = this.#driver.reserve(this.#ch, 13);
    f.writeU32(out.buf, f.writeFrameHeader(out.buf, out.at, 4, type, 0, id), value);
    this.#commit(13);
  }

  #commit(bytes: number): void {
    this.#unread++;
    if (!this.#driver.commit(this.#ch, bytes)) this.#queue.full = true;
    else if (!this.#queue.full) this.#unread = 0;
  }
}
