// One HTTP/2 connection (RFC 9113), the same for both roles: frames in, streams fed, windows kept,
// floods bounded. Servers and clients build on it by an `owner` and a subclass of `Http2Stream`:
//   peer's stream: `owner.incoming` → `onFields`, `onHead`, `onData`*, [`onTrailers`], `onEnd`, `onClosed`
//   our stream:    `open`, then `openBlock` → write fields → `closeBlock`, `data`*, `end`
// Either side may `reset`. A stream that was told nothing more hears `onClosed` exactly once.
// Its parts: incoming-frames.ts (what the peer says), stream-table.ts, send-queue.ts, receive-queue.ts,
// control-frames.ts, floods.ts, session-watch.ts (time). Here: how it begins, is used, and ends.

import type { Chan, ChanError, Core, Driver, Out } from "../../core/driver.ts";
import { BlockWriter } from "./block-writer.ts";
import { ControlFrames } from "./control-frames.ts";
import { Floods } from "./floods.ts";
import * as f from "./frames.ts";
import type { HpackEncoder } from "./hpack-encoder.ts";
import { type FrameEvents, IncomingFrames } from "./incoming-frames.ts";
import { ReceiveQueue } from "./receive-queue.ts";
import { SendQueue } from "./send-queue.ts";
import type { Flood, SessionOptions, SessionOwner } from "./session-options.ts";
import { type Due, SessionWatch } from "./session-watch.ts";
import { LAST_STREAM, StreamTable } from "./stream-table.ts";
import type { Http2Stream } from "./stream.ts";

/** Whole frames are awaited: longer ones are not announced, whatever is configured. */
const MAX_FRAME_BYTES = 128 * 1024;

export class Http2Session implements Core, FrameEvents, Due {
  /** Header compression towards the peer; between `openBlock` and `closeBlock` only. */
  readonly encoder: HpackEncoder;
  /** Called once when the channel is gone, whoever ended it. */
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #o: SessionOptions;
  readonly #owner: SessionOwner;
  readonly #isServer: boolean;
  readonly #maxFrame: number;
  readonly #frame = new f.Frame();
  readonly #out: SendQueue;
  readonly #control: ControlFrames;
  readonly #blocks: BlockWriter;
  readonly #floods: Floods;
  readonly #received: ReceiveQueue;
  readonly #streams: StreamTable;
  readonly #frames: IncomingFrames;
  readonly #watch: SessionWatch;
  #ch: Chan = 0;
  #prefaceLeft: number;
  #draining = false;
  #isGone = false;
  #goneAway = false;

  constructor(driver: Driver, options: SessionOptions, owner: SessionOwner) {
    this.#driver = driver;
    this.#o = options;
    this.#owner = owner;
    this.#isServer = options.role === "server";
    this.#prefaceLeft = this.#isServer ? f.PREFACE.length : 0;
    this.#maxFrame = Math.max(
      f.DEFAULT_MAX_FRAME_BYTES,
      Math.min(MAX_FRAME_BYTES, options.maxFrameBytes ?? 0),
    );
    const out = new SendQueue(driver);
    const control = new ControlFrames(driver, out);
    const blocks = new BlockWriter(driver);
    const floods = new Floods(driver, options, (what) => this.flood(what));
    const received = new ReceiveQueue(control, options);
    const streams = new StreamTable(options, out, received, control, floods);
    streams.onClosed = (left) => this.#closed(left);
    this.encoder = blocks.encoder;
    this.#out = out;
    this.#control = control;
    this.#blocks = blocks;
    this.#floods = floods;
    this.#received = received;
    this.#streams = streams;
    this.#watch = new SessionWatch(driver, options, streams, this);
    const parts = { options, streams, out, received, control, blocks, floods };
    this.#frames = new IncomingFrames(parts, this);
  }

  // --- for the owner ----------------------------------------------------------------------------

  /** Open streams. */
  get streams(): number {
    return this.#streams.size;
  }

  /** How many streams may be opened now; 0 once the connection ends or the peer said GOAWAY. */
  get available(): number {
    return this.closing ? 0 : Math.max(0, this.#frames.peerStreams - this.#streams.size);
  }

  /** Whether the peer takes extended CONNECT (RFC 8441); null: its SETTINGS are not in. */
  get extends(): boolean | null {
    return this.#frames.hasSettings ? this.#frames.peerExtends : null;
  }

  /** True once no stream can begin any more. */
  get closing(): boolean {
    return this.#streams.over || this.#goneAway || this.#draining || this.#streams.isExhausted;
  }

  /** A client's: gives a stream its number. Ask `available` before; write its head at once. */
  open(stream: Http2Stream): void {
    this.#streams.begin(stream);
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
    this.#streams.sent(stream);
  }

  /** Sends body bytes, all taken; false: no more until `onWritable`. `end`: they are the last. */
  data(
    stream: Http2Stream,
    buf: Uint8Array,
    from: number,
    to: number,
    end = false,
  ): boolean {
    if (stream.id === 0 || stream.localEnded || this.#streams.over) return true;
    const { frames } = this.#out;
    const ready = this.#out.data(stream, buf, from, to, end);
    this.#floods.sentFrames(this.#out.frames - frames);
    if (stream.localEnded) this.#streams.sent(stream);
    return ready;
  }

  /** Ends our direction, after what is pending. */
  end(stream: Http2Stream): void {
    if (stream.id === 0 || stream.localEnded || this.#streams.over) return;
    this.#out.end(stream);
    if (stream.localEnded) this.#streams.sent(stream);
  }

  /** Whether body bytes wait, so that trailers must wait for `onWritable` (set `stream.waits`). */
  pending(stream: Http2Stream): boolean {
    return stream.pendingFrom < stream.pendingTo;
  }

  /** Ends both directions at once. Nothing but `onClosed` is told. */
  reset(stream: Http2Stream, code: number): void {
    this.#streams.reset(stream, code);
  }

  /** `onData` said false before; now it can take more, and the peer gets its window back. */
  more(stream: Http2Stream): void {
    const { id } = stream;
    if (!stream.stopped || id === 0 || this.#streams.over) return;
    this.#received.more(stream);
    if (stream.id !== id || stream.stopped) return;
    if (stream.remoteEnded) this.#streams.remoteEnd(stream);
  }

  /** No new streams; the connection ends with the last one. */
  drain(): void {
    if (this.#streams.over || this.#draining) return;
    this.#draining = true;
    if (this.#isServer) {
      // The peer may have begun streams that we have not seen: the last number is told when it knows.
      this.#control.goAway(LAST_STREAM, f.NO_ERROR);
      this.ping();
      this.#watch.drain();
    } else this.#maybeDone();
  }

  /** Ends the connection at once, telling the peer. Streams hear `onReset`. */
  fail(code: number, why: string): void {
    if (this.#streams.over) return;
    this.#control.goAway(this.#streams.peerLast, code);
    this.#finish(code, why, code === f.NO_ERROR ? "lost" : "error");
    this.#linger();
  }

  // --- the driver says --------------------------------------------------------------------------

  opened(ch: Chan): void {
    this.#ch = ch;
    this.#out.open(ch);
    const o = this.#o;
    const settings: [id: number, value: number][] = [
      [f.INITIAL_WINDOW_SIZE, o.streamWindowBytes],
      [f.MAX_HEADER_LIST_SIZE, o.maxHeadBytes],
    ];
    if (this.#isServer) {
      settings.push([f.MAX_CONCURRENT_STREAMS, o.maxConcurrentStreams]);
      settings.push([f.ENABLE_CONNECT_PROTOCOL, 1]);
    } else settings.push([f.ENABLE_PUSH, 0]);
    if (this.#maxFrame > f.DEFAULT_MAX_FRAME_BYTES) {
      settings.push([f.MAX_FRAME_SIZE, this.#maxFrame]);
    }
    this.#control.open(ch, !this.#isServer, settings, this.#received.begin());
    this.#watch.begin();
  }

  feed(_ch: Chan, buf: Uint8Array, from: number, to: number): number {
    if (this.#streams.over) return to - from;
    this.#watch.heardMs = this.#driver.now;
    let at = from;
    while (this.#prefaceLeft > 0 && at < to) {
      if (buf[at++] !== f.PREFACE[f.PREFACE.length - this.#prefaceLeft--]) {
        this.fail(f.PROTOCOL_ERROR, "the connection does not begin as HTTP/2 does");
        return to - from;
      }
    }
    const frame = this.#frame;
    const frames = this.#frames;
    while (to - at >= f.FRAME_HEADER_BYTES) {
      frame.read(buf, at);
      let code = frames.expected(frame);
      if (code === f.NO_ERROR) code = frame.check(this.#maxFrame);
      if (code === f.NO_ERROR) {
        if (frame.to > to) break;
        at = frame.to;
        code = frames.take(frame, buf);
      }
      if (this.#streams.over) return to - from;
      if (code !== f.NO_ERROR) {
        this.fail(code, `a frame of type ${frame.type} breaks the protocol`);
        return to - from;
      }
    }
    if (at < to || frames.gathers) {
      // each frame has its time, all frames of a block have it together
      if (!this.#watch.awaits || (at > from && !frames.gathers)) this.#watch.await();
    } else if (frames.isAcked && this.#watch.awaits) this.#watch.whole();
    if (this.#control.stuffed) this.flood("output");
    return at - from;
  }

  writable(): void {
    this.#control.read();
    this.#out.full = false;
    if (!this.#streams.over) this.pump();
  }

  ended(ch: Chan): void {
    const why = this.#streams.size === 0 ? null : "the peer ended it";
    this.#finish(f.NO_ERROR, why, "lost");
    this.#driver.close(ch, "flush");
    this.#gone();
  }

  closed(_ch: Chan, why: ChanError | null): void {
    this.#finish(f.NO_ERROR, why?.message ?? "closed", "lost");
    this.#gone();
  }

  // --- frames say -------------------------------------------------------------------------------

  get goneAway(): boolean {
    return this.#goneAway;
  }

  incoming(): Http2Stream | null {
    return this.#owner.incoming();
  }

  pump(): void {
    const { frames } = this.#out;
    this.#out.pump(this.#streams.sent);
    this.#floods.sentFrames(this.#out.frames - frames);
  }

  settled(): void {
    this.#owner.settled();
  }

  ponged(): void {
    if (this.#watch.answered() && this.#draining) this.drained();
  }

  peerGone(last: number, code: number): void {
    if (!this.#isServer) {
      this.#goneAway = true; // first, since what is told goes out again, and not here
      for (const stream of this.#streams.values()) {
        if (stream.id <= last) continue;
        stream.onReset(f.REFUSED_STREAM, "unprocessed");
        this.#streams.close(stream);
      }
    }
    this.#owner.goneAway(code);
    this.#maybeDone();
  }

  flood(what: Flood): void {
    if (this.#streams.over) return;
    this.#owner.flooded(what);
    this.fail(f.ENHANCE_YOUR_CALM, `the peer ran into the bound on ${what}`);
  }

  // --- time says --------------------------------------------------------------------------------

  late(): void {
    if (this.#streams.over) return;
    const { hasSettings, isAcked, gathers } = this.#frames;
    if (hasSettings && !isAcked && !gathers) {
      this.fail(f.SETTINGS_TIMEOUT, "our SETTINGS were not acknowledged in time");
      return;
    }
    if (this.#isServer) this.#owner.flooded("slow");
    this.fail(f.PROTOCOL_ERROR, "a preface, frame or header block took too long");
  }

  /** The peer knows of the drain: what it begins from here on is refused. */
  drained(): void {
    if (!this.#goneAway) {
      this.#goneAway = true;
      this.#control.goAway(this.#streams.peerLast, f.NO_ERROR);
    }
    this.#maybeDone();
  }

  idle(): void {
    this.fail(f.NO_ERROR, "idle");
  }

  ping(): void {
    this.#control.ping();
    this.#watch.pinged();
  }

  deaf(): void {
    this.fail(f.NO_ERROR, "no answer to a PING");
  }

  stalled(): void {
    const { now } = this.#driver;
    for (const stream of this.#streams.values()) {
      if (!this.pending(stream) || now - stream.movedMs < this.#o.stallMs) continue;
      this.#owner.flooded("stalled");
      this.#control.reset(stream.id, f.ENHANCE_YOUR_CALM);
      stream.onReset(f.ENHANCE_YOUR_CALM, "lost");
      this.#streams.close(stream);
      if (this.#streams.over) return;
    }
  }

  lingered(): void {
    this.#driver.close(this.#ch, "flush");
    this.#gone();
  }

  // --- the end ----------------------------------------------------------------------------------

  /** A stream closed, and so many are left. */
  #closed(left: number): void {
    if (left === 0) {
      this.#watch.quiet();
      this.#maybeDone();
    }
    if (!this.#isServer) this.#owner.settled();
  }

  /** Ends a connection that has nothing left to do. */
  #maybeDone(): void {
    if (this.#streams.over || this.#streams.size > 0) return;
    if (!this.#goneAway && (this.#isServer || !this.#draining)) return;
    this.#finish(f.NO_ERROR, null, "lost");
    this.#linger();
  }

  #finish(code: number, why: string | null, how: "lost" | "error"): void {
    if (this.#streams.over) return;
    this.#frames.stop();
    this.#watch.stop();
    this.#streams.end(code, how);
    this.#owner.over(why);
  }

  /** What still comes in is dropped for a while, so that what we said last is not lost to a reset. */
  #linger(): void {
    this.#driver.shutdown(this.#ch);
    this.#driver.resume(this.#ch);
    this.#watch.linger();
  }

  #gone(): void {
    this.#watch.stop();
    if (!this.#isGone) {
      this.#isGone = true;
      this.#owner.gone();
    }
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }
}
