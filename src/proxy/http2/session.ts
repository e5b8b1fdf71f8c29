// One HTTP/2 connection (RFC 9113), the same for both roles: frames in, streams fed, windows kept,
// floods bounded. Servers and clients build on it by an `owner` and a subclass of `Http2Stream`:
//   peer's stream: `owner.incoming` → `onFields`, `onHead`, `onData`*, [`onTrailers`], `onEnd`, `onClosed`
//   our stream:    `open`, then `openBlock` → write fields → `closeBlock`, `data`*, `end`
// Either side may `reset`. A stream that was told nothing more hears `onClosed` exactly once.

import type { Chan, ChanError, Core, Driver, Out } from "../../core/driver.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { BlockWriter } from "./block-writer.ts";
import { Budget } from "./budget.ts";
import { ControlFrames } from "./control-frames.ts";
import * as f from "./frames.ts";
import { GatheredBlock } from "./gathered-block.ts";
import { type FieldSink, HpackDecoder, type HpackEncoder, MAX_BLOCK_BYTES } from "./hpack.ts";
import { SendQueue } from "./send-queue.ts";
import type { Http2Stream } from "./stream.ts";

/** How a connection behaves. */
export interface SessionOptions {
  readonly role: "server" | "client";
  /** What the peer may send on a stream before we took it. */
  readonly streamWindowBytes: number;
  /** The same for all streams together; at least 65,535. */
  readonly connectionWindowBytes: number;
  /** Streams that the peer may have open. */
  readonly maxConcurrentStreams: number;
  /** Longest header block, and what is announced as the longest list. At most 64 KiB. */
  readonly maxHeadBytes: number;
  /** Longest frame that the peer may send, if not 16,384; at most 128 KiB are buffered. */
  readonly maxFrameBytes?: number | undefined;
  /** Streams that the peer may reset at once, beside those that time allows; absent: twice its streams. */
  readonly maxResets?: number | undefined;
  /** For the preface, a frame or a header block that began, and the answer to our SETTINGS. */
  readonly headMs: number;
  /** A connection without streams is ended after this long; Infinity: never. */
  readonly idleMs: number;
  /** A stream whose peer gives no window for what waits is reset after this long. */
  readonly stallMs: number;
  /** PING after so long without a frame, and how long its answer may take; null: never. */
  readonly keepAlive: { readonly intervalMs: number; readonly timeoutMs: number } | null;
}

/** A bound that a peer ran into; labels of a counter. */
export type Flood = "frames" | "resets" | "continuation" | "output" | "slow" | "stalled";

/** What a session needs of who made it. */
export interface SessionOwner {
  /** A server's: the peer begins a stream. Null: not now (REFUSED_STREAM). */
  incoming(): Http2Stream | null;
  /** A client's: the peer's limits or the number of streams changed; see `available`. */
  settled(): void;
  /** The peer takes no more streams; those that it did not process have been told. */
  goneAway(code: number): void;
  /** The peer ran into a bound. */
  flooded(what: Flood): void;
  /** The connection is over, and all its streams have been told. `why`: for logs; null: in order. */
  over(why: string | null): void;
}

/** Whole frames are awaited: longer ones are not announced, whatever is configured. */
const MAX_FRAME_BYTES = 128 * 1024;
/** Frames that bring nothing: at once, and each second. */
const IDLE_FRAMES = 2000;
const IDLE_FRAMES_PER_SECOND = 200;
/** What a frame that makes us work counts of them. */
const SETTINGS_COST = 20;
/** Streams reset before they ended: at once, and each second. */
const RESETS_PER_SECOND = 100;
/** How long a connection that we end waits for the peer to have read why. */
const LINGER_MS = 1000;
/** How long a drain waits for the peer to know of it before it refuses streams. */
const DRAIN_MS = 1000;
/** Streams that a client assumes before the server's SETTINGS are in. */
const ASSUMED_STREAMS = 100;
const LAST_STREAM = 0x7fffffff;
const IGNORE: FieldSink = { field() {} };

export class Http2Session implements Core {
  /** Header compression towards the peer; between `openBlock` and `closeBlock` only. */
  readonly encoder: HpackEncoder;
  /** Called once when the channel is gone, whoever ended it. */
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #o: SessionOptions;
  readonly #owner: SessionOwner;
  readonly #decoder = new HpackDecoder();
  readonly #frame = new f.Frame();
  readonly #streams = new Map<number, Http2Stream>();
  readonly #out: SendQueue;
  readonly #control: ControlFrames;
  readonly #blocks: BlockWriter;
  readonly #gathered: GatheredBlock;
  #ch: Chan = 0;
  #prefaceLeft: number;
  #settings = false; // the peer's first SETTINGS are in
  #acked = false; // ours are acknowledged
  #over = false;
  #draining = false;
  #goneAway = false;
  /** The peer's highest stream, and ours. */
  #peerLast = 0;
  #ourNext: number;
  #peerMax = ASSUMED_STREAMS;
  readonly #maxFrame: number;
  #recvWindow = f.DEFAULT_WINDOW_BYTES;
  #consumed = 0;
  readonly #idle: Budget;
  readonly #resets: Budget;
  #heardMs = 0;
  #quietMs = 0; // since when there is no stream
  #pingMs = Infinity; // when an unanswered PING of ours was sent
  readonly #slow: Timer;
  readonly #tick: Timer;
  readonly #ended = (stream: Http2Stream) => {
    if (stream.remoteTold) this.#close(stream);
    else if (this.#o.role === "client" || stream.duplex) return;
    // A server that has answered needs no more of the request (§8.1).
    else if (stream.remoteEnded) this.#close(stream);
    else this.reset(stream, f.NO_ERROR);
  };

  constructor(driver: Driver, options: SessionOptions, owner: SessionOwner) {
    this.#driver = driver;
    this.#o = options;
    this.#owner = owner;
    this.#out = new SendQueue(driver);
    this.#control = new ControlFrames(driver, this.#out);
    this.#blocks = new BlockWriter(driver);
    this.encoder = this.#blocks.encoder;
    this.#gathered = new GatheredBlock(Math.min(options.maxHeadBytes, MAX_BLOCK_BYTES));
    this.#prefaceLeft = options.role === "server" ? f.PREFACE.length : 0;
    this.#ourNext = options.role === "server" ? 2 : 1;
    this.#idle = new Budget(IDLE_FRAMES, IDLE_FRAMES_PER_SECOND, driver.now);
    const resets = options.maxResets ?? Math.max(200, 2 * options.maxConcurrentStreams);
    this.#maxFrame = Math.max(
      f.DEFAULT_MAX_FRAME_BYTES,
      Math.min(MAX_FRAME_BYTES, options.maxFrameBytes ?? 0),
    );
    this.#resets = new Budget(resets, RESETS_PER_SECOND, driver.now);
    this.#slow = createTimer(() => this.#late());
    this.#tick = createTimer(() => this.#look());
  }

  // --- for the owner ----------------------------------------------------------------------------

  /** Open streams. */
  get streams(): number {
    return this.#streams.size;
  }

  /** How many streams may be opened now; 0 once the connection ends or the peer said GOAWAY. */
  get available(): number {
    if (this.#over || this.#goneAway || this.#draining || this.#ourNext > LAST_STREAM) return 0;
    return Math.max(0, this.#peerMax - this.#streams.size);
  }

  /** True once no stream can begin any more. */
  get closing(): boolean {
    return this.#over || this.#goneAway || this.#draining || this.#ourNext > LAST_STREAM;
  }

  /** A client's: gives a stream its number. Ask `available` before; write its head at once. */
  open(stream: Http2Stream): void {
    stream.reset(this.#ourNext, this.#out.initialWindow, this.#o.streamWindowBytes);
    this.#ourNext += 2;
    this.#streams.set(stream.id, stream);
  }

  /**
   * Room for a header block of `bytes` (as the `…Room` functions of heads.ts say): encode fields with
   * `encoder` from `out.at` on, then `closeBlock`. Nothing else may be sent in between.
   */
  openBlock(bytes: number): Out {
    return this.#blocks.open(this.#ch, bytes);
  }

  /** Sends the block that ends at `to`. */
  closeBlock(stream: Http2Stream, out: Out, to: number, end: boolean): void {
    if (!this.#blocks.close(this.#ch, stream.id, out, to, end)) this.#out.full = true;
    if (!end) return;
    stream.localEnded = true;
    this.#ended(stream);
  }

  /** Sends body bytes, all taken; false: no more until `onWritable`. `end`: they are the last. */
  data(
    stream: Http2Stream,
    buf: Uint8Array,
    from: number,
    to: number,
    end = false,
  ): boolean {
    if (stream.id === 0 || stream.localEnded || this.#over) return true;
    const frames = this.#out.frames;
    const ready = this.#out.data(stream, buf, from, to, end);
    this.#idle.earn(4 * (this.#out.frames - frames));
    if (stream.localEnded) this.#ended(stream);
    return ready;
  }

  /** Ends our direction, after what is pending. */
  end(stream: Http2Stream): void {
    if (stream.id === 0 || stream.localEnded || this.#over) return;
    this.#out.end(stream);
    if (stream.localEnded) this.#ended(stream);
  }

  /** Whether body bytes wait, so that trailers must wait for `onWritable` (set `stream.waits`). */
  pending(stream: Http2Stream): boolean {
    return stream.pendingFrom < stream.pendingTo;
  }

  /** Ends both directions at once. Nothing but `onClosed` is told. */
  reset(stream: Http2Stream, code: number): void {
    if (stream.id === 0 || this.#over) return;
    this.#control.reset(stream.id, code);
    this.#close(stream);
  }

  /** `onData` said false before; now it can take more, and the peer gets its window back. */
  more(stream: Http2Stream): void {
    if (!stream.stopped || stream.id === 0 || this.#over) return;
    stream.stopped = false;
    this.#taken(stream, stream.owed);
    stream.owed = 0;
    if (stream.heldTo > 0) {
      const { held, heldTo, id } = stream;
      stream.held = new Uint8Array(0);
      stream.heldTo = 0;
      const go = stream.onData(held, 0, heldTo);
      if (stream.id !== id) return;
      if (go) this.#taken(stream, heldTo);
      else {
        stream.owed = heldTo;
        stream.stopped = true;
      }
    }
    if (!stream.stopped && stream.remoteEnded) this.#remoteEnd(stream);
  }

  /** No new streams; the connection ends with the last one. */
  drain(): void {
    if (this.#over || this.#draining) return;
    this.#draining = true;
    if (this.#o.role === "server") {
      // The peer may have begun streams that we have not seen: the last number is told when it knows.
      this.#control.goAway(LAST_STREAM, f.NO_ERROR);
      this.#ping();
      this.#arm();
    } else this.#maybeDone();
  }

  /** Ends the connection at once, telling the peer. Streams hear `onReset`. */
  fail(code: number, why: string): void {
    if (this.#over) return;
    this.#control.goAway(this.#peerLast, code);
    this.#finish(code, why, code === f.NO_ERROR ? "lost" : "error");
    // What still comes in is dropped for a while, so that the reason is not lost to a reset.
    this.#driver.shutdown(this.#ch);
    this.#driver.resume(this.#ch);
    this.#driver.timers.arm(this.#tick, this.#driver.now + LINGER_MS);
  }

  // --- the driver says --------------------------------------------------------------------------

  opened(ch: Chan): void {
    this.#ch = ch;
    this.#out.open(ch);
    const { now, timers } = this.#driver;
    this.#heardMs = this.#quietMs = now;
    const o = this.#o;
    const more = o.connectionWindowBytes - f.DEFAULT_WINDOW_BYTES;
    this.#recvWindow += Math.max(0, more);
    const settings: [id: number, value: number][] = [
      [f.INITIAL_WINDOW_SIZE, o.streamWindowBytes],
      [f.MAX_HEADER_LIST_SIZE, o.maxHeadBytes],
      o.role === "client" ? [f.ENABLE_PUSH, 0] : [f.MAX_CONCURRENT_STREAMS, o.maxConcurrentStreams],
    ];
    if (this.#maxFrame > f.DEFAULT_MAX_FRAME_BYTES) {
      settings.push([f.MAX_FRAME_SIZE, this.#maxFrame]);
    }
    this.#control.open(ch, o.role === "client", settings, more);
    timers.arm(this.#slow, now + o.headMs);
    this.#arm();
  }

  feed(_ch: Chan, buf: Uint8Array, from: number, to: number): number {
    if (this.#over) return to - from;
    this.#heardMs = this.#driver.now;
    let at = from;
    while (this.#prefaceLeft > 0 && at < to) {
      if (buf[at++] !== f.PREFACE[f.PREFACE.length - this.#prefaceLeft--]) {
        this.fail(f.PROTOCOL_ERROR, "the connection does not begin as HTTP/2 does");
        return to - from;
      }
    }
    const frame = this.#frame;
    while (to - at >= f.FRAME_HEADER_BYTES) {
      frame.read(buf, at);
      let code = this.#expectedNow(frame);
      if (code === f.NO_ERROR) code = frame.check(this.#maxFrame);
      if (code === f.NO_ERROR) {
        if (frame.to > to) break;
        at = frame.to;
        code = this.#received(frame, buf);
      }
      if (this.#over) return to - from;
      if (code !== f.NO_ERROR) {
        this.fail(code, `a frame of type ${frame.type} breaks the protocol`);
        return to - from;
      }
    }
    if (at < to || this.#gathered.stream !== 0) {
      // each frame has its time, all frames of a block have it together
      if (this.#slow.at === Infinity || (at > from && this.#gathered.stream === 0)) {
        this.#driver.timers.arm(this.#slow, this.#driver.now + this.#o.headMs);
      }
    } else if (this.#acked && this.#slow.at !== Infinity) this.#driver.timers.cancel(this.#slow);
    if (this.#control.stuffed) this.#flood("output");
    return at - from;
  }

  writable(): void {
    this.#control.read();
    this.#out.full = false;
    if (!this.#over) this.#pump();
  }

  ended(ch: Chan): void {
    if (!this.#over) {
      this.#finish(f.NO_ERROR, this.#streams.size === 0 ? null : "the peer ended it", "lost");
    }
    this.#driver.close(ch, "flush");
    this.#gone();
  }

  closed(_ch: Chan, why: ChanError | null): void {
    this.#finish(f.NO_ERROR, why?.message ?? "closed", "lost");
    this.#gone();
  }

  // --- frames -----------------------------------------------------------------------------------

  /** What must come next: SETTINGS at first, CONTINUATION within a header block. */
  #expectedNow(frame: f.Frame): number {
    if (!this.#settings) {
      return frame.type === f.SETTINGS && (frame.flags & f.ACK) === 0
        ? f.NO_ERROR
        : f.PROTOCOL_ERROR;
    }
    const continues = frame.type === f.CONTINUATION;
    if (this.#gathered.stream === 0) return continues ? f.PROTOCOL_ERROR : f.NO_ERROR;
    return continues && frame.stream === this.#gathered.stream ? f.NO_ERROR : f.PROTOCOL_ERROR;
  }

  #received(frame: f.Frame, buf: Uint8Array): number {
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
        return this.#peerSettings(frame, buf);
      case f.PUSH_PROMISE:
        return f.PROTOCOL_ERROR; // clients do not push, and we allow no server to
      case f.PING:
        return this.#pinged(frame, buf);
      case f.GOAWAY:
        return this.#peerGoAway(frame, buf);
      case f.WINDOW_UPDATE:
        return this.#windowUpdate(frame, buf);
      default:
        this.#idleFrame(1);
        return f.NO_ERROR;
    }
  }

  /** Whether no frame of this stream was ever legal. */
  #isIdle(id: number): boolean {
    const ours = (id & 1) === (this.#ourNext & 1);
    return ours ? id >= this.#ourNext : id > this.#peerLast;
  }

  #data(frame: f.Frame, buf: Uint8Array): number {
    const { stream: id, length, flags } = frame;
    // padding counts too (§6.9.1)
    if (length > this.#recvWindow) return f.FLOW_CONTROL_ERROR;
    this.#recvWindow -= length;
    const code = frame.unpad(buf);
    if (code !== f.NO_ERROR) return code;
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#taken(null, length);
      return this.#unknown(id);
    }
    if (stream.remoteEnded) return this.#broke(stream, f.STREAM_CLOSED, length);
    if (!stream.headed) return this.#broke(stream, f.PROTOCOL_ERROR, length);
    if (length > stream.recvWindow) return this.#broke(stream, f.FLOW_CONTROL_ERROR, length);
    stream.recvWindow -= length;
    const n = frame.to - frame.from;
    const end = (flags & f.END_STREAM) !== 0;
    if (n > 0) this.#idle.earn(1);
    else if (!end) this.#idleFrame(1);
    stream.received += n;
    if (stream.expected >= 0 && stream.received > stream.expected) {
      return this.#broke(stream, f.PROTOCOL_ERROR, length);
    }
    if (end) stream.remoteEnded = true;
    if (length > n) this.#taken(stream, length - n);
    if (n > 0) {
      if (stream.stopped) {
        stream.keep(buf, frame.from, frame.to);
        return f.NO_ERROR;
      }
      if (stream.onData(buf, frame.from, frame.to)) {
        this.#taken(stream.id === id ? stream : null, n);
      } else if (stream.id === id) {
        stream.stopped = true;
        stream.owed = n;
      } else this.#taken(null, n);
    }
    if (end && stream.id === id && !stream.stopped) this.#remoteEnd(stream);
    return f.NO_ERROR;
  }

  #headers(frame: f.Frame, buf: Uint8Array): number {
    const { stream: id, flags } = frame;
    const dependsOn = (flags & f.HAS_PRIORITY) !== 0 ? (flags & f.PADDED) !== 0 ? 1 : 0 : -1;
    const self = dependsOn >= 0 && frame.length >= dependsOn + 5 &&
      (f.readU32(buf, frame.from + dependsOn) & 0x7fffffff) === id;
    const code = frame.unpad(buf);
    if (code !== f.NO_ERROR) return code;
    if (this.#isIdle(id)) {
      // even numbers are a server's, and there is no push
      if (this.#o.role === "client" || (id & 1) === 0) return f.PROTOCOL_ERROR;
      this.#peerLast = id;
      this.#accept(id);
    }
    if (self) {
      const stream = this.#streams.get(id);
      if (stream !== undefined) this.#broke(stream, f.PROTOCOL_ERROR, 0);
    }
    const end = (flags & f.END_STREAM) !== 0;
    if ((flags & f.END_HEADERS) !== 0) return this.#decode(id, end, buf, frame.from, frame.to);
    this.#gathered.begin(id, end);
    return this.#gather(frame, buf);
  }

  /** The peer begins a stream. */
  #accept(id: number): void {
    if (this.#goneAway || this.#streams.size >= this.#o.maxConcurrentStreams) {
      return this.#refuse(id);
    }
    const stream = this.#owner.incoming();
    if (stream === null) return this.#refuse(id);
    stream.reset(id, this.#out.initialWindow, this.#o.streamWindowBytes);
    this.#streams.set(id, stream);
  }

  #refuse(id: number): void {
    this.#control.reset(id, f.REFUSED_STREAM);
    this.#resetSpent();
  }

  #continuation(frame: f.Frame, buf: Uint8Array): number {
    const code = this.#gather(frame, buf);
    if (code !== f.NO_ERROR || (frame.flags & f.END_HEADERS) === 0) return code;
    const { stream, end, buf: block, length } = this.#gathered;
    this.#gathered.clear();
    return this.#decode(stream, end, block, 0, length);
  }

  #gather(frame: f.Frame, buf: Uint8Array): number {
    if (frame.from === frame.to) this.#idleFrame(10);
    if (!this.#gathered.add(frame, buf)) this.#flood("continuation");
    return f.NO_ERROR;
  }

  /** A whole header block. It is decoded whatever becomes of it, since the table must follow. */
  #decode(id: number, end: boolean, buf: Uint8Array, from: number, to: number): number {
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      if (!this.#decoder.decode(buf, from, to, IGNORE)) return f.COMPRESSION_ERROR;
      return this.#unknown(id);
    }
    if (stream.remoteEnded) {
      if (!this.#decoder.decode(buf, from, to, IGNORE)) return f.COMPRESSION_ERROR;
      return this.#broke(stream, f.STREAM_CLOSED, 0);
    }
    if (!this.#decoder.decode(buf, from, to, stream.onFields())) return f.COMPRESSION_ERROR;
    this.#idle.earn(1);
    let code = f.NO_ERROR;
    if (end) stream.remoteEnded = true;
    if (!stream.headed) code = stream.onHead(end);
    else code = end ? stream.onTrailers() : f.PROTOCOL_ERROR;
    if (stream.id !== id) return f.NO_ERROR;
    if (code !== f.NO_ERROR) return this.#broke(stream, code, 0);
    if (end && !stream.stopped) this.#remoteEnd(stream);
    return f.NO_ERROR;
  }

  #priority(frame: f.Frame, buf: Uint8Array): number {
    this.#idleFrame(1);
    const stream = this.#streams.get(frame.stream);
    if (frame.length !== 5) {
      if (stream === undefined) return f.FRAME_SIZE_ERROR;
      return this.#broke(stream, f.FRAME_SIZE_ERROR, 0);
    }
    // Priorities are obsolete (§5.3); what was always wrong still is.
    if ((f.readU32(buf, frame.from) & 0x7fffffff) !== frame.stream) return f.NO_ERROR;
    if (stream === undefined) return f.PROTOCOL_ERROR;
    return this.#broke(stream, f.PROTOCOL_ERROR, 0);
  }

  #rst(frame: f.Frame, buf: Uint8Array): number {
    const { stream: id } = frame;
    if (this.#isIdle(id)) return f.PROTOCOL_ERROR;
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#idleFrame(1);
      return f.NO_ERROR;
    }
    const code = f.readU32(buf, frame.from);
    const refused = code === f.REFUSED_STREAM && !stream.headed;
    if (this.#o.role === "server") this.#resetSpent();
    if (this.#over) return f.NO_ERROR;
    stream.onReset(code, refused ? "unprocessed" : "peer");
    this.#close(stream);
    return f.NO_ERROR;
  }

  #peerSettings(frame: f.Frame, buf: Uint8Array): number {
    if ((frame.flags & f.ACK) !== 0) {
      this.#acked = true;
      return f.NO_ERROR;
    }
    this.#idleFrame(this.#settings ? SETTINGS_COST : 0);
    this.#settings = true;
    for (let at = frame.from; at < frame.to; at += 6) {
      const id = ((buf[at] as number) << 8) | (buf[at + 1] as number);
      const value = f.readU32(buf, at + 2);
      const code = f.checkSetting(id, value);
      if (code !== f.NO_ERROR) return code;
      if (id === f.HEADER_TABLE_SIZE) this.encoder.limit(value);
      else if (id === f.MAX_CONCURRENT_STREAMS) this.#peerMax = value;
      else if (id === f.ENABLE_PUSH && value === 1 && this.#o.role === "client") {
        return f.PROTOCOL_ERROR;
      } else if (id === f.INITIAL_WINDOW_SIZE) {
        const more = value - this.#out.initialWindow;
        this.#out.initialWindow = value;
        for (const stream of this.#streams.values()) {
          if (!this.#out.grow(stream, more)) return f.FLOW_CONTROL_ERROR;
        }
      }
    }
    this.#control.ackSettings();
    this.#pump();
    this.#owner.settled();
    return f.NO_ERROR;
  }

  #pinged(frame: f.Frame, buf: Uint8Array): number {
    if ((frame.flags & f.ACK) !== 0) {
      if (this.#pingMs !== Infinity && this.#draining) this.#drained();
      this.#pingMs = Infinity;
      return f.NO_ERROR;
    }
    this.#idleFrame(1);
    this.#control.pong(buf, frame.from);
    return f.NO_ERROR;
  }

  #peerGoAway(frame: f.Frame, buf: Uint8Array): number {
    const last = f.readU32(buf, frame.from) & 0x7fffffff;
    const code = f.readU32(buf, frame.from + 4);
    this.#idleFrame(10);
    if (this.#o.role === "client") {
      this.#goneAway = true; // first, since what is told goes out again, and not here
      for (const stream of this.#streams.values()) {
        if (stream.id <= last) continue;
        stream.onReset(f.REFUSED_STREAM, "unprocessed");
        this.#close(stream);
      }
    }
    this.#owner.goneAway(code);
    this.#maybeDone();
    return f.NO_ERROR;
  }

  #windowUpdate(frame: f.Frame, buf: Uint8Array): number {
    const { stream: id } = frame;
    const more = f.readU32(buf, frame.from) & 0x7fffffff;
    this.#idleFrame(1);
    if (id === 0) {
      if (more === 0) return f.PROTOCOL_ERROR;
      if (!this.#out.growConnection(more)) return f.FLOW_CONTROL_ERROR;
    } else {
      if (this.#isIdle(id)) return f.PROTOCOL_ERROR;
      const stream = this.#streams.get(id);
      if (stream === undefined) return f.NO_ERROR;
      if (more === 0) return this.#broke(stream, f.PROTOCOL_ERROR, 0);
      if (!this.#out.grow(stream, more)) return this.#broke(stream, f.FLOW_CONTROL_ERROR, 0);
    }
    this.#pump();
    return f.NO_ERROR;
  }

  /** A frame of a stream that is not open: legal only for a while after we reset it (§5.1). */
  #unknown(id: number): number {
    if (this.#isIdle(id)) return f.PROTOCOL_ERROR;
    this.#idleFrame(1);
    return this.#control.wasReset(id) ? f.NO_ERROR : f.STREAM_CLOSED;
  }

  /** The peer broke a rule on one stream. `unread` bytes of its frame were not passed on. */
  #broke(stream: Http2Stream, code: number, unread: number): number {
    this.#taken(null, unread);
    const { id } = stream;
    this.#control.reset(id, code);
    // A client that has us reset streams costs as much as one that resets them itself.
    this.#resetSpent();
    if (this.#over) return f.NO_ERROR;
    stream.onReset(code, "error");
    this.#close(stream);
    return f.NO_ERROR;
  }

  // --- streams ----------------------------------------------------------------------------------

  #remoteEnd(stream: Http2Stream): void {
    const { id } = stream;
    if (stream.expected >= 0 && stream.received !== stream.expected) {
      this.#broke(stream, f.PROTOCOL_ERROR, 0);
      return;
    }
    stream.remoteTold = true;
    stream.onEnd();
    if (stream.id === id && stream.localEnded) this.#close(stream);
  }

  #close(stream: Http2Stream): void {
    const { id } = stream;
    if (id === 0) return;
    this.#streams.delete(id);
    this.#out.forget(stream);
    const unread = stream.owed + stream.heldTo;
    const orderly = stream.localEnded && stream.remoteTold;
    stream.held = new Uint8Array(0);
    stream.heldTo = 0;
    stream.id = 0;
    stream.onClosed();
    if (this.#over) return;
    if (unread > 0) this.#taken(null, unread);
    if (orderly) this.#resets.earn(1);
    if (this.#streams.size === 0) {
      this.#quietMs = this.#driver.now;
      this.#arm();
      this.#maybeDone();
    }
    if (this.#o.role === "client") this.#owner.settled();
  }

  /** Bytes that were taken above: gives the peer its windows back, in halves. */
  #taken(stream: Http2Stream | null, bytes: number): void {
    if (bytes === 0 || this.#over) return;
    this.#consumed += bytes;
    if (this.#consumed >= this.#o.connectionWindowBytes >>> 1) {
      this.#recvWindow += this.#consumed;
      this.#control.windowUpdate(0, this.#consumed);
      this.#consumed = 0;
    }
    if (stream === null || stream.remoteEnded) return;
    stream.consumed += bytes;
    if (stream.consumed >= this.#o.streamWindowBytes >>> 1) {
      stream.recvWindow += stream.consumed;
      this.#control.windowUpdate(stream.id, stream.consumed);
      stream.consumed = 0;
    }
  }

  #pump(): void {
    const frames = this.#out.frames;
    this.#out.pump(this.#ended);
    this.#idle.earn(4 * (this.#out.frames - frames));
  }

  #ping(): void {
    this.#control.ping();
    this.#pingMs = this.#driver.now;
  }

  // --- bounds -----------------------------------------------------------------------------------

  #idleFrame(cost: number): void {
    if (!this.#idle.spend(cost, this.#driver.now)) this.#flood("frames");
  }

  #resetSpent(): void {
    if (!this.#resets.spend(1, this.#driver.now)) this.#flood("resets");
  }

  #flood(what: Flood): void {
    if (this.#over) return;
    this.#owner.flooded(what);
    this.fail(f.ENHANCE_YOUR_CALM, `the peer ran into the bound on ${what}`);
  }

  /** Something that began did not become whole in time. */
  #late(): void {
    if (this.#over) return;
    const { role } = this.#o;
    if (this.#settings && !this.#acked && this.#gathered.stream === 0) {
      this.fail(f.SETTINGS_TIMEOUT, "our SETTINGS were not acknowledged in time");
      return;
    }
    if (role === "server") this.#owner.flooded("slow");
    this.fail(f.PROTOCOL_ERROR, "a preface, frame or header block took too long");
  }

  /** The next moment at which idle, keep-alive, stalled streams or a drain must be looked at. */
  #arm(): void {
    const { now, timers } = this.#driver;
    const o = this.#o;
    let at = now + o.stallMs / 2;
    if (this.#streams.size === 0) at = Math.min(at, this.#quietMs + o.idleMs);
    if (o.keepAlive !== null) {
      at = Math.min(
        at,
        this.#pingMs === Infinity
          ? this.#heardMs + o.keepAlive.intervalMs
          : this.#pingMs + o.keepAlive.timeoutMs,
      );
    }
    if (this.#draining) at = Math.min(at, now + DRAIN_MS);
    if (at !== Infinity) timers.arm(this.#tick, Math.max(now + 1, at));
  }

  #look(): void {
    const { now } = this.#driver;
    if (this.#over) {
      this.#driver.close(this.#ch, "flush");
      this.#gone();
      return;
    }
    const o = this.#o;
    if (this.#draining) this.#drained();
    if (this.#over) return;
    if (this.#streams.size === 0 && now - this.#quietMs >= o.idleMs) {
      this.fail(f.NO_ERROR, "idle");
      return;
    }
    if (o.keepAlive !== null) {
      if (this.#pingMs === Infinity) {
        if (now - this.#heardMs >= o.keepAlive.intervalMs) this.#ping();
      } else if (this.#heardMs >= this.#pingMs) this.#pingMs = Infinity;
      else if (now - this.#pingMs >= o.keepAlive.timeoutMs) {
        this.fail(f.NO_ERROR, "no answer to a PING");
        return;
      }
    }
    for (const stream of this.#streams.values()) {
      if (!this.pending(stream) || now - stream.movedMs < o.stallMs) continue;
      this.#owner.flooded("stalled");
      this.#control.reset(stream.id, f.ENHANCE_YOUR_CALM);
      stream.onReset(f.ENHANCE_YOUR_CALM, "lost");
      this.#close(stream);
      if (this.#over) return;
    }
    this.#arm();
  }

  /** The peer knows of the drain: what it begins from here on is refused. */
  #drained(): void {
    if (!this.#goneAway) {
      this.#goneAway = true;
      this.#control.goAway(this.#peerLast, f.NO_ERROR);
    }
    this.#maybeDone();
  }

  /** Ends a connection that has nothing left to do. */
  #maybeDone(): void {
    if (this.#over || !this.#goneAway && !(this.#draining && this.#o.role === "client")) return;
    if (this.#streams.size > 0) return;
    this.#finish(f.NO_ERROR, null, "lost");
    this.#driver.shutdown(this.#ch);
    this.#driver.resume(this.#ch);
    this.#driver.timers.arm(this.#tick, this.#driver.now + LINGER_MS);
  }

  #finish(code: number, why: string | null, how: "lost" | "error"): void {
    if (this.#over) return;
    this.#over = true;
    this.#gathered.clear();
    this.#driver.timers.cancel(this.#slow);
    this.#driver.timers.cancel(this.#tick);
    for (const stream of this.#streams.values()) {
      stream.onReset(code, how);
      this.#close(stream);
    }
    this.#owner.over(why);
  }

  #gone(): void {
    this.#driver.timers.cancel(this.#tick);
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }
}
