// The streams of an HTTP/2 connection: their numbers, which are open, and how each comes to its end.
// Between session.ts, where streams are begun and sent on, and incoming-frames.ts, where the peer speaks.

import type { ControlFrames } from "./control-frames.ts";
import type { Floods } from "./floods.ts";
import * as f from "./frames.ts";
import type { ReceiveQueue } from "./receive-queue.ts";
import type { SendQueue } from "./send-queue.ts";
import type { SessionOptions } from "./session-options.ts";
import type { Http2Stream } from "./stream.ts";

/** The highest number of a stream (RFC 9113 §5.1.1). */
export const LAST_STREAM = 0x7fffffff;

export class StreamTable {
  /** The connection is over: nothing is sent or told any more. */
  over = false;
  /** The peer's highest stream. */
  peerLast = 0;
  /** Called when a stream closed; with none left when it was the last. */
  onClosed: ((left: number) => void) | null = null;
  readonly #open = new Map<number, Http2Stream>();
  readonly #o: SessionOptions;
  readonly #out: SendQueue;
  readonly #received: ReceiveQueue;
  readonly #control: ControlFrames;
  readonly #floods: Floods;
  #ourNext: number;

  constructor(
    options: SessionOptions,
    out: SendQueue,
    received: ReceiveQueue,
    control: ControlFrames,
    floods: Floods,
  ) {
    this.#o = options;
    this.#out = out;
    this.#received = received;
    this.#control = control;
    this.#floods = floods;
    this.#ourNext = options.role === "server" ? 2 : 1;
  }

  get size(): number {
    return this.#open.size;
  }

  get(id: number): Http2Stream | undefined {
    return this.#open.get(id);
  }

  values(): IterableIterator<Http2Stream> {
    return this.#open.values();
  }

  /** Whether we have begun as many streams as there are numbers. */
  get isExhausted(): boolean {
    return this.#ourNext > LAST_STREAM;
  }

  /** Whether no frame of this stream was ever legal. */
  isIdle(id: number): boolean {
    const ours = (id & 1) === (this.#ourNext & 1);
    return ours ? id >= this.#ourNext : id > this.peerLast;
  }

  /** Begins one of ours. */
  begin(stream: Http2Stream): void {
    this.add(stream, this.#ourNext);
    this.#ourNext += 2;
  }

  /** Begins one under its number. */
  add(stream: Http2Stream, id: number): void {
    stream.reset(id, this.#out.initialWindow, this.#o.streamWindowBytes);
    this.#open.set(id, stream);
  }

  /** Does not begin one of the peer's. */
  refuse(id: number): void {
    this.#control.reset(id, f.REFUSED_STREAM);
    this.#floods.resetStream();
  }

  /** A frame of a stream that is not open: legal only for a while after we reset it (§5.1). */
  unknown(id: number): number {
    if (this.isIdle(id)) return f.PROTOCOL_ERROR;
    this.#floods.idleFrame(1);
    return this.#control.wasReset(id) ? f.NO_ERROR : f.STREAM_CLOSED;
  }

  /** Our direction has ended. */
  readonly sent = (stream: Http2Stream): void => {
    if (stream.remoteTold) this.close(stream);
    else if (this.#o.role === "client" || stream.duplex) return;
    // A server that has answered needs no more of the request (§8.1).
    else if (stream.remoteEnded) this.close(stream);
    else this.reset(stream, f.NO_ERROR);
  };

  /** The peer's direction has ended, and all of it was passed on. */
  remoteEnd(stream: Http2Stream): void {
    const { id } = stream;
    if (stream.expected >= 0 && stream.received !== stream.expected) {
      this.broke(stream, f.PROTOCOL_ERROR, 0);
      return;
    }
    stream.remoteTold = true;
    stream.onEnd();
    if (stream.id === id && stream.localEnded) this.close(stream);
  }

  /** Ends both directions at once. Nothing but `onClosed` is told. */
  reset(stream: Http2Stream, code: number): void {
    if (stream.id === 0 || this.over) return;
    this.#control.reset(stream.id, code);
    this.close(stream);
  }

  /** The peer broke a rule on one stream. `unread` bytes of its frame were not passed on. */
  broke(stream: Http2Stream, code: number, unread: number): number {
    this.#received.taken(null, unread);
    this.#control.reset(stream.id, code);
    // A client that has us reset streams costs as much as one that resets them itself.
    this.#floods.resetStream();
    if (this.over) return f.NO_ERROR;
    stream.onReset(code, "error");
    this.close(stream);
    return f.NO_ERROR;
  }

  /** The session forgets a stream, however it ended. */
  close(stream: Http2Stream): void {
    const { id } = stream;
    if (id === 0) return;
    this.#open.delete(id);
    this.#out.forget(stream);
    this.#received.forget(stream);
    const orderly = stream.localEnded && stream.remoteTold;
    stream.id = 0;
    stream.onClosed();
    if (this.over) return;
    if (orderly) this.#floods.endedStream();
    this.onClosed?.(this.#open.size);
  }

  /** The connection is over: all streams hear it. */
  end(code: number, how: "lost" | "error"): void {
    this.over = true;
    this.#received.stop();
    for (const stream of this.#open.values()) {
      stream.onReset(code, how);
      this.close(stream);
    }
  }
}
