// The frames of an HTTP/2 peer (RFC 9113 §6), one by one: what each may do to streams, windows and
// settings. Called by session.ts, which knows when a frame is whole; every method says NO_ERROR or the
// code that the connection ends with.

import type { BlockWriter } from "./block-writer.ts";
import type { ControlFrames } from "./control-frames.ts";
import { EMPTY_CONTINUATION_COST, type Floods, GOAWAY_COST, SETTINGS_COST } from "./floods.ts";
import * as f from "./frames.ts";
import { GatheredBlock } from "./gathered-block.ts";
import { type FieldSink, HpackDecoder, MAX_BLOCK_BYTES } from "./hpack-decoder.ts";
import type { ReceiveQueue } from "./receive-queue.ts";
import type { SendQueue } from "./send-queue.ts";
import type { Flood, SessionOptions } from "./session-options.ts";
import type { StreamTable } from "./stream-table.ts";
import type { Http2Stream } from "./stream.ts";

/** Streams that a client assumes before the server's SETTINGS are in. */
const ASSUMED_STREAMS = 100;
const IGNORE: FieldSink = { known() {}, literal() {} };

/** The parts of a session that frames change. */
export interface SessionParts {
  readonly options: SessionOptions;
  readonly streams: StreamTable;
  readonly out: SendQueue;
  readonly received: ReceiveQueue;
  readonly control: ControlFrames;
  readonly blocks: BlockWriter;
  readonly floods: Floods;
}

/** What frames have the session do. */
export interface FrameEvents {
  /** Whether the peer's streams are refused: it knows that we take no more. */
  readonly goneAway: boolean;
  /** A stream for what the peer begins; null: not now. */
  incoming(): Http2Stream | null;
  /** Windows grew. */
  pump(): void;
  /** The peer's settings changed, and are acknowledged. */
  settled(): void;
  /** A PING of ours is answered. */
  ponged(): void;
  /** The peer takes no more streams from us. */
  peerGone(last: number, code: number): void;
  flood(what: Flood): void;
}

export class IncomingFrames {
  /** The peer's first SETTINGS are in. */
  hasSettings = false;
  /** Ours are acknowledged. */
  isAcked = false;
  /** Streams that the peer allows us. */
  peerStreams = ASSUMED_STREAMS;
  /** The peer takes extended CONNECT. */
  peerExtends = false;
  readonly #s: SessionParts;
  readonly #events: FrameEvents;
  readonly #isClient: boolean;
  readonly #decoder = new HpackDecoder();
  readonly #gathered: GatheredBlock;

  constructor(parts: SessionParts, events: FrameEvents) {
    this.#s = parts;
    this.#events = events;
    this.#isClient = parts.options.role === "client";
    this.#gathered = new GatheredBlock(Math.min(parts.options.maxHeadBytes, MAX_BLOCK_BYTES));
  }

  /** Whether a header block began whose end is awaited. */
  get gathers(): boolean {
    return this.#gathered.stream !== 0;
  }

  /** Forgets what was gathered. */
  stop(): void {
    this.#gathered.clear();
  }

  /** What must come next: SETTINGS at first, CONTINUATION within a header block. */
  expected(frame: f.Frame): number {
    if (!this.hasSettings) {
      return frame.type === f.SETTINGS && (frame.flags & f.ACK) === 0
        ? f.NO_ERROR
        : f.PROTOCOL_ERROR;
    }
    const continues = frame.type === f.CONTINUATION;
    if (!this.gathers) return continues ? f.PROTOCOL_ERROR : f.NO_ERROR;
    return continues && frame.stream === this.#gathered.stream ? f.NO_ERROR : f.PROTOCOL_ERROR;
  }

  /** Does what a whole frame says. */
  take(frame: f.Frame, buf: Uint8Array): number {
    switch (frame.type) {
      case f.DATA:
        return this.#data(frame, buf);
      case f.HEADERS:
        return this.#headers(frame, buf);
      case f.CONTINUATION:
        return this.#continuation(frame, buf);
      case f.PRIORITY:
        return this.#priority(frame, buf);
      case f.RST_STREAM:
        return this.#rst(frame, buf);
      case f.SETTINGS:
        return this.#settings(frame, buf);
      case f.PUSH_PROMISE:
        return f.PROTOCOL_ERROR; // clients do not push, and we allow no server to
      case f.PING:
        return this.#ping(frame, buf);
      case f.GOAWAY:
        return this.#goAway(frame, buf);
      case f.WINDOW_UPDATE:
        return this.#windowUpdate(frame, buf);
      default:
        this.#s.floods.idleFrame(1);
        return f.NO_ERROR;
    }
  }

  #data(frame: f.Frame, buf: Uint8Array): number {
    const { streams, received, floods } = this.#s;
    const { stream: id, length, flags } = frame;
    // padding counts too (§6.9.1)
    if (!received.arrived(length)) return f.FLOW_CONTROL_ERROR;
    const code = frame.unpad(buf);
    if (code !== f.NO_ERROR) return code;
    const stream = streams.get(id);
    if (stream === undefined) {
      received.taken(null, length);
      return streams.unknown(id);
    }
    if (stream.remoteEnded) return streams.broke(stream, f.STREAM_CLOSED, length);
    if (!stream.headed) return streams.broke(stream, f.PROTOCOL_ERROR, length);
    if (length > stream.recvWindow) return streams.broke(stream, f.FLOW_CONTROL_ERROR, length);
    stream.recvWindow -= length;
    const n = frame.to - frame.from;
    const end = (flags & f.END_STREAM) !== 0;
    if (n > 0) floods.usefulFrame();
    else if (!end) floods.idleFrame(1);
    stream.received += n;
    if (stream.expected >= 0 && stream.received > stream.expected) {
      return streams.broke(stream, f.PROTOCOL_ERROR, length);
    }
    if (end) stream.remoteEnded = true;
    if (length > n) received.taken(stream, length - n);
    if (n > 0) received.pass(stream, buf, frame.from, frame.to);
    if (end && stream.id === id && !stream.stopped) streams.remoteEnd(stream);
    return f.NO_ERROR;
  }

  #headers(frame: f.Frame, buf: Uint8Array): number {
    const { streams } = this.#s;
    const { stream: id, flags } = frame;
    const dependsOn = (flags & f.HAS_PRIORITY) !== 0 ? (flags & f.PADDED) !== 0 ? 1 : 0 : -1;
    const self = dependsOn >= 0 && frame.length >= dependsOn + 5 &&
      (f.readU32(buf, frame.from + dependsOn) & 0x7fffffff) === id;
    const code = frame.unpad(buf);
    if (code !== f.NO_ERROR) return code;
    if (streams.isIdle(id)) {
      // even numbers are a server's, and there is no push
      if (this.#isClient || (id & 1) === 0) return f.PROTOCOL_ERROR;
      streams.peerLast = id;
      this.#accept(id);
    }
    if (self) {
      const stream = streams.get(id);
      if (stream !== undefined) streams.broke(stream, f.PROTOCOL_ERROR, 0);
    }
    const end = (flags & f.END_STREAM) !== 0;
    if ((flags & f.END_HEADERS) !== 0) return this.#decode(id, end, buf, frame.from, frame.to);
    this.#gathered.begin(id, end);
    return this.#gather(frame, buf);
  }

  /** The peer begins a stream. */
  #accept(id: number): void {
    const { streams, options } = this.#s;
    const isFull = this.#events.goneAway || streams.size >= options.maxConcurrentStreams;
    const stream = isFull ? null : this.#events.incoming();
    if (stream === null) streams.refuse(id);
    else streams.add(stream, id);
  }

  #continuation(frame: f.Frame, buf: Uint8Array): number {
    const code = this.#gather(frame, buf);
    if (code !== f.NO_ERROR || (frame.flags & f.END_HEADERS) === 0) return code;
    const { stream, end, buf: block, length } = this.#gathered;
    this.#gathered.clear();
    return this.#decode(stream, end, block, 0, length);
  }

  #gather(frame: f.Frame, buf: Uint8Array): number {
    if (frame.from === frame.to) this.#s.floods.idleFrame(EMPTY_CONTINUATION_COST);
    if (!this.#gathered.add(frame, buf)) this.#events.flood("continuation");
    return f.NO_ERROR;
  }

  /** A whole header block. It is decoded whatever becomes of it, since the table must follow. */
  #decode(id: number, end: boolean, buf: Uint8Array, from: number, to: number): number {
    const { streams, floods } = this.#s;
    const stream = streams.get(id);
    if (stream === undefined || stream.remoteEnded) {
      if (!this.#decoder.decode(buf, from, to, IGNORE)) return f.COMPRESSION_ERROR;
      return stream === undefined ? streams.unknown(id) : streams.broke(stream, f.STREAM_CLOSED, 0);
    }
    if (!this.#decoder.decode(buf, from, to, stream.onFields())) return f.COMPRESSION_ERROR;
    floods.usefulFrame();
    let code: number = f.NO_ERROR;
    if (end) stream.remoteEnded = true;
    if (!stream.headed) code = stream.onHead(end);
    else code = end ? stream.onTrailers() : f.PROTOCOL_ERROR;
    if (stream.id !== id) return f.NO_ERROR;
    if (code !== f.NO_ERROR) return streams.broke(stream, code, 0);
    if (end && !stream.stopped) streams.remoteEnd(stream);
    return f.NO_ERROR;
  }

  #priority(frame: f.Frame, buf: Uint8Array): number {
    const { streams, floods } = this.#s;
    floods.idleFrame(1);
    const stream = streams.get(frame.stream);
    // Priorities are obsolete (§5.3); what was always wrong still is.
    const dependsOnItself = frame.length === 5 &&
      (f.readU32(buf, frame.from) & 0x7fffffff) === frame.stream;
    const code = frame.length !== 5
      ? f.FRAME_SIZE_ERROR
      : dependsOnItself
      ? f.PROTOCOL_ERROR
      : f.NO_ERROR;
    if (code === f.NO_ERROR || stream === undefined) return code;
    return streams.broke(stream, code, 0);
  }

  #rst(frame: f.Frame, buf: Uint8Array): number {
    const { streams, floods } = this.#s;
    const { stream: id } = frame;
    if (streams.isIdle(id)) return f.PROTOCOL_ERROR;
    const stream = streams.get(id);
    if (stream === undefined) {
      floods.idleFrame(1);
      return f.NO_ERROR;
    }
    const code = f.readU32(buf, frame.from);
    const refused = code === f.REFUSED_STREAM && !stream.headed;
    if (!this.#isClient) floods.resetStream();
    if (streams.over) return f.NO_ERROR;
    stream.onReset(code, refused ? "unprocessed" : "peer");
    streams.close(stream);
    return f.NO_ERROR;
  }

  #settings(frame: f.Frame, buf: Uint8Array): number {
    if ((frame.flags & f.ACK) !== 0) {
      this.isAcked = true;
      return f.NO_ERROR;
    }
    this.#s.floods.idleFrame(this.hasSettings ? SETTINGS_COST : 0);
    this.hasSettings = true;
    for (let at = frame.from; at < frame.to; at += 6) {
      const id = ((buf[at] as number) << 8) | (buf[at + 1] as number);
      const code = this.#setting(id, f.readU32(buf, at + 2));
      if (code !== f.NO_ERROR) return code;
    }
    this.#s.control.ackSettings();
    this.#events.pump();
    this.#events.settled();
    return f.NO_ERROR;
  }

  #setting(id: number, value: number): number {
    const code = f.checkSetting(id, value);
    if (code !== f.NO_ERROR) return code;
    const { out, streams, blocks } = this.#s;
    switch (id) {
      case f.HEADER_TABLE_SIZE:
        blocks.encoder.limit(value);
        break;
      case f.MAX_CONCURRENT_STREAMS:
        this.peerStreams = value;
        break;
      case f.ENABLE_CONNECT_PROTOCOL:
        this.peerExtends = value === 1;
        break;
      case f.ENABLE_PUSH:
        if (value === 1 && this.#isClient) return f.PROTOCOL_ERROR;
        break;
      case f.INITIAL_WINDOW_SIZE: {
        const more = value - out.initialWindow;
        out.initialWindow = value;
        for (const stream of streams.values()) {
          if (!out.grow(stream, more)) return f.FLOW_CONTROL_ERROR;
        }
      }
    }
    return f.NO_ERROR;
  }

  #ping(frame: f.Frame, buf: Uint8Array): number {
    if ((frame.flags & f.ACK) !== 0) {
      this.#events.ponged();
      return f.NO_ERROR;
    }
    this.#s.floods.idleFrame(1);
    this.#s.control.pong(buf, frame.from);
    return f.NO_ERROR;
  }

  #goAway(frame: f.Frame, buf: Uint8Array): number {
    const last = f.readU32(buf, frame.from) & 0x7fffffff;
    this.#s.floods.idleFrame(GOAWAY_COST);
    this.#events.peerGone(last, f.readU32(buf, frame.from + 4));
    return f.NO_ERROR;
  }

  #windowUpdate(frame: f.Frame, buf: Uint8Array): number {
    const { streams, out, floods } = this.#s;
    const { stream: id } = frame;
    const more = f.readU32(buf, frame.from) & 0x7fffffff;
    floods.idleFrame(1);
    if (id === 0) {
      if (more === 0) return f.PROTOCOL_ERROR;
      if (!out.growConnection(more)) return f.FLOW_CONTROL_ERROR;
    } else {
      if (streams.isIdle(id)) return f.PROTOCOL_ERROR;
      const stream = streams.get(id);
      if (stream === undefined) return f.NO_ERROR;
      if (more === 0) return streams.broke(stream, f.PROTOCOL_ERROR, 0);
      if (!out.grow(stream, more)) return streams.broke(stream, f.FLOW_CONTROL_ERROR, 0);
    }
    this.#events.pump();
    return f.NO_ERROR;
  }
}
