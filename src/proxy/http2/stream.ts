// One HTTP/2 stream as its connection sees it: identifier, windows, what waits in either direction.
// What a request or a response makes of it is a subclass (server.ts, client.ts), whose `on…` methods
// the session calls. Streams are pooled: `reset` before each use.

import type { FieldSink } from "./hpack-decoder.ts";

/**
 * Why a stream ended early. `peer`: its RST_STREAM. `unprocessed`: above the last stream of its GOAWAY,
 * or refused before anything was done. `lost`: the connection is gone. `error`: the peer broke a rule,
 * and was told so.
 */
export type ResetHow = "peer" | "unprocessed" | "lost" | "error";

const EMPTY = new Uint8Array(0);
/** A buffer over this is given back when it has been sent. */
const KEEP_BYTES = 16 * 1024;

/** What the session needs of a stream, and tells it. */
export abstract class Http2Stream {
  /** 0 while it belongs to no session. */
  id = 0;
  /** The first header block (responses: the one that is not 1xx) is in. Set by `onHead`. */
  headed = false;
  /** Declared length of the body that comes, set by `onHead`; -1: not declared. */
  expected = -1;
  /** A tunnel: a server's end is not the end of what the client sends. */
  duplex = false;
  /** We said END_STREAM. */
  localEnded = false;
  /** The peer said END_STREAM; it may not have been passed on yet. */
  remoteEnded = false;
  /** `onEnd` was called. */
  remoteTold = false;

  // --- the session's own ------------------------------------------------------------------------

  /** What the peer may still send. */
  recvWindow = 0;
  /** Taken by `onData` and not given back to the peer's window yet. */
  consumed = 0;
  /** Body bytes received. */
  received = 0;
  /** `onData` said to stop. What comes nevertheless is held. */
  stopped = false;
  /** Bytes for which the peer has no window until `more`: that of the stream, */
  owed = 0;
  /** and that of the connection. */
  owedByConnection = 0;
  held: Uint8Array = EMPTY;
  heldTo = 0;

  // --- the send queue's own ---------------------------------------------------------------------

  sendWindow = 0;
  pending: Uint8Array = EMPTY;
  pendingFrom = 0;
  pendingTo = 0;
  /** END_STREAM goes with the last pending byte. */
  endsAfter = false;
  /** Its sender was told to wait, or has more to say after what is pending. */
  waits = false;
  queued = false;
  prev: Http2Stream | null = null;
  next: Http2Stream | null = null;
  /** When bytes last went out while others waited; the driver's clock. */
  movedMs = 0;

  /** Begins life on a session. */
  reset(id: number, sendWindow: number, recvWindow: number): void {
    this.id = id;
    this.headed = this.duplex = false;
    this.expected = -1;
    this.localEnded = this.remoteEnded = this.remoteTold = false;
    this.recvWindow = recvWindow;
    this.consumed =
      this.received =
      this.owed =
      this.owedByConnection =
        0;
    this.stopped = false;
    this.held = EMPTY;
    this.heldTo = 0;
    this.sendWindow = sendWindow;
    this.pendingFrom = this.pendingTo = 0;
    if (this.pending.length > KEEP_BYTES) this.pending = EMPTY;
    this.endsAfter = this.waits = false;
    this.movedMs = 0;
  }

  /** A header block begins; its fields go to the result. */
  abstract onFields(): FieldSink;
  /** The first block is whole (a client: also 1xx). Says NO_ERROR, or the code to reset with. */
  abstract onHead(end: boolean): number;
  /** The block after the body is whole. Says NO_ERROR, or the code to reset with. */
  abstract onTrailers(): number;
  /** Body bytes, lent for the call and always taken; false: stop until `session.more`. */
  abstract onData(buf: Uint8Array, from: number, to: number): boolean;
  /** The peer's direction is over, trailers included. */
  abstract onEnd(): void;
  /** All that was pending is out, and the sender was told to wait: go on. */
  abstract onWritable(): void;
  /** The stream ended early; `onClosed` follows. */
  abstract onReset(code: number, how: ResetHow): void;
  /** The session forgets the stream; it may be used again. Once, however it ended. */
  abstract onClosed(): void;

  /** Appends to what waits to be sent. */
  hold(buf: Uint8Array, from: number, to: number): void {
    const size = this.pendingTo - this.pendingFrom;
    const need = size + to - from;
    if (need > this.pending.length) {
      const grown = new Uint8Array(Math.max(need, 2 * size, 4096));
      grown.set(this.pending.subarray(this.pendingFrom, this.pendingTo));
      this.pending = grown;
    } else if (this.pendingTo + to - from > this.pending.length) {
      this.pending.copyWithin(0, this.pendingFrom, this.pendingTo);
    } else {
      this.pending.set(buf.subarray(from, to), this.pendingTo);
      this.pendingTo += to - from;
      return;
    }
    this.pendingFrom = 0;
    this.pending.set(buf.subarray(from, to), size);
    this.pendingTo = need;
  }

  /** Appends to what waits to be taken; the receive window bounds it. */
  keep(buf: Uint8Array, from: number, to: number): void {
    const need = this.heldTo + to - from;
    if (need > this.held.length) {
      const grown = new Uint8Array(Math.max(need, 2 * this.heldTo, 4096));
      grown.set(this.held.subarray(0, this.heldTo));
      this.held = grown;
    }
    this.held.set(buf.subarray(from, to), this.heldTo);
    this.heldTo = need;
  }
}
