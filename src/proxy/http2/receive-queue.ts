// What an HTTP/2 connection receives of bodies: our windows, and what waits because its reader said to
// stop (RFC 9113 §6.9). Below session.ts, beside send-queue.ts.

import type { ControlFrames } from "./control-frames.ts";
import { DEFAULT_WINDOW_BYTES } from "./frames.ts";
import type { SessionOptions } from "./session-options.ts";
import type { Http2Stream } from "./stream.ts";

const EMPTY = new Uint8Array(0);

export class ReceiveQueue {
  readonly #control: ControlFrames;
  readonly #connectionBytes: number;
  readonly #streamBytes: number;
  #window = DEFAULT_WINDOW_BYTES;
  #consumed = 0;
  #over = false;

  constructor(
    control: ControlFrames,
    o: Pick<SessionOptions, "connectionWindowBytes" | "streamWindowBytes">,
  ) {
    this.#control = control;
    this.#connectionBytes = o.connectionWindowBytes;
    this.#streamBytes = o.streamWindowBytes;
  }

  /** The connection begins: how much more than the default the peer is to be told that it may send. */
  begin(): number {
    const more = Math.max(0, this.#connectionBytes - DEFAULT_WINDOW_BYTES);
    this.#window += more;
    return more;
  }

  /** The connection is over: nothing is given back any more. */
  stop(): void {
    this.#over = true;
  }

  /** Takes a frame's bytes from the connection's window; false: it had not so much. */
  arrived(bytes: number): boolean {
    if (bytes > this.#window) return false;
    this.#window -= bytes;
    return true;
  }

  /** Passes body bytes to their stream, or holds them for it. The stream's window had room. */
  pass(stream: Http2Stream, buf: Uint8Array, from: number, to: number): void {
    const { id } = stream;
    const bytes = to - from;
    if (stream.stopped) {
      stream.keep(buf, from, to);
      this.#owe(stream, bytes);
    } else if (stream.onData(buf, from, to)) this.taken(stream.id === id ? stream : null, bytes);
    else if (stream.id !== id) this.taken(null, bytes);
    else {
      stream.stopped = true;
      this.#owe(stream, bytes);
    }
  }

  /** `onData` said to stop before; now it can take more, and the peer gets its window back. */
  more(stream: Http2Stream): void {
    const { held, heldTo, id } = stream;
    stream.stopped = false;
    this.#repay(stream, heldTo);
    if (heldTo === 0) return;
    stream.held = EMPTY;
    stream.heldTo = 0;
    const go = stream.onData(held, 0, heldTo);
    if (stream.id !== id) return;
    if (go) this.#repay(stream, 0);
    else stream.stopped = true;
  }

  /** The stream is over: what nobody will take is given back to the connection. */
  forget(stream: Http2Stream): void {
    const { owedByConnection } = stream;
    stream.held = EMPTY;
    stream.heldTo = stream.owed = stream.owedByConnection = 0;
    this.#giveConnection(owedByConnection);
  }

  /** Bytes that were taken; null: of no stream. Windows are given back in halves. */
  taken(stream: Http2Stream | null, bytes: number): void {
    this.#giveConnection(bytes);
    if (stream !== null) this.#giveStream(stream, bytes);
  }

  /**
   * Bytes whose window waits for `more`. A tunnel may stand still for hours and may hold up nobody:
   * its own window is all that it keeps, and that of the connection is given back at once.
   */
  #owe(stream: Http2Stream, bytes: number): void {
    stream.owed += bytes;
    if (stream.duplex) this.#giveConnection(bytes);
    else stream.owedByConnection += bytes;
  }

  /** Gives back what is owed but for the last `but` bytes. */
  #repay(stream: Http2Stream, but: number): void {
    const connection = stream.owedByConnection - Math.min(but, stream.owedByConnection);
    const own = stream.owed - but;
    stream.owedByConnection -= connection;
    stream.owed = but;
    this.#giveConnection(connection);
    this.#giveStream(stream, own);
  }

  #giveConnection(bytes: number): void {
    if (this.#over || bytes === 0) return;
    this.#consumed += bytes;
    if (this.#consumed < this.#connectionBytes >>> 1) return;
    this.#window += this.#consumed;
    this.#control.windowUpdate(0, this.#consumed);
    this.#consumed = 0;
  }

  #giveStream(stream: Http2Stream, bytes: number): void {
    if (this.#over || bytes === 0 || stream.remoteEnded) return;
    stream.consumed += bytes;
    if (stream.consumed < this.#streamBytes >>> 1) return;
    stream.recvWindow += stream.consumed;
    this.#control.windowUpdate(stream.id, stream.consumed);
    stream.consumed = 0;
  }
}
