// One accepted HTTP/1 connection: requests in, responses out. Feeds each request to a service and is
// the reply that the service answers. Pipelined requests wait in the driver until their turn.

import type { Chan, ChanError, Core, Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import { type ConnInfo, Exchange, type Reply, type Sink } from "../../core/exchange.ts";
import type { ResponseHead } from "../../core/head.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { endsConnection, ERROR_ROOM, RESPONSES, writeError } from "../http/respond.ts";
import { BAD_CHUNK, BodyReader } from "./body.ts";
import { sendChunk, sendLastChunk } from "./chunks.ts";
import { headRoom, mustChunk, writeResponse } from "./encode.ts";
import { INCOMPLETE } from "./codes.ts";
import { headError } from "./head-error.ts";
import { parseRequest, worthParsing } from "./parse.ts";
import type { ServerOptions } from "./server-options.ts";
import { Stall } from "./stall.ts";
import { parseTrailers, sendTrailers } from "./trailers.ts";

/** Awaiting or reading a request head. */
const HEAD = 0;
/** Reading the request's body. */
const BODY = 1;
/** The request is read; its response is not finished. */
const WAIT = 2;
/** Both directions carry raw bytes. */
const TUNNEL = 3;
/** Answered and closing; what still comes in is dropped, so that the answer is not lost to a reset. */
const LINGER = 4;

const LINGER_MS = 1000;
const CONTINUE_HEAD = new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n");

export class Http1Server implements Core, Reply {
  /** Set by whoever sends the response; called when the client can take more. */
  wake: (() => void) | null = null;
  /** Called once when the connection is gone, whoever ended it. */
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #options: ServerOptions;
  readonly #x: Exchange;
  readonly #tell: boolean;
  #ch: Chan = 0;
  #state = HEAD;
  #sink: Sink | null = null;
  readonly #body = new BodyReader();
  #headSent = false;
  #answered = false;
  #replyEnded = false;
  #chunked = false;
  #close = false;
  #fin = false;
  #scanned = 0;
  readonly #stall: Stall;
  readonly #timer: Timer;
  readonly #framing = { chunked: false, close: false, minor: 1 };
  readonly #resume = () => {
    this.#body.blocked = false;
    this.#driver.resume(this.#ch);
  };

  constructor(driver: Driver, conn: ConnInfo, options: ServerOptions) {
    this.#driver = driver;
    this.#options = options;
    this.#x = new Exchange(conn);
    this.#tell = options.tellMesh(conn);
    this.#stall = new Stall(options.stallMs);
    this.#timer = createTimer(() => this.#timedOut());
  }

  // --- the driver says --------------------------------------------------------------------------

  opened(ch: Chan): void {
    this.#ch = ch;
    this.#driver.timers.arm(this.#timer, this.#driver.now + this.#options.idleMs);
  }

  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number {
    switch (this.#state) {
      case HEAD:
        return this.#feedHead(buf, from, to);
      case BODY:
        return this.#feedBody(buf, from, to);
      case TUNNEL:
        if (this.#sink !== null && !this.#sink.data(buf, from, to)) this.#driver.pause(ch);
        return to - from;
      case LINGER:
        return to - from;
      default: // WAIT: the next request waits for its turn
        this.#driver.pause(ch);
        return 0;
    }
  }

  writable(): void {
    this.#stall.full = false;
    this.wake?.();
  }

  ended(): void {
    this.#fin = true;
    if (this.#state === TUNNEL) {
      this.#sink?.end();
      if (this.#replyEnded) this.#finishTunnel();
    } else if (this.#state === HEAD || this.#state === LINGER) {
      this.#stop();
      this.#shut("flush");
    } else if (this.#state === BODY) {
      // The rest of the body will never come.
      this.#lost("the client ended the connection within a request body");
      this.#shut("reset");
    }
    // WAIT: a client that half-closed still gets its response.
    this.#close = true;
  }

  closed(_ch: Chan, why: ChanError | null): void {
    this.#lost(`the client went away (${why?.message ?? "closed"})`);
    this.#gone();
  }

  #shut(how: "flush" | "reset"): void {
    this.#driver.close(this.#ch, how);
    this.#gone();
  }

  #gone(): void {
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }

  #lost(text: string): void {
    this.#stop();
    const sink = this.#sink;
    if (sink === null) return;
    this.#sink = null;
    const error = new MeshError("client-gone", text);
    this.#x.error = error;
    sink.abort(error);
    this.#finish();
  }

  /** The exchange is over: tells the stack, once. */
  #finish(): void {
    this.#options.inFlight.count--;
    this.#x.finish();
  }

  #stop(): void {
    this.#driver.timers.cancel(this.#timer);
  }

  #timedOut(): void {
    if (this.#state === HEAD && this.#scanned === 0) this.#shut("flush"); // idle
    else if (this.#state === HEAD) {
      const what = `No whole request head within ${this.#options.headMs} ms`;
      this.#refuse(new MeshError("bad-request", what), 408);
    } else if (this.#state === LINGER) this.#shut("flush");
    else this.#mayStall();
  }

  /** An exchange's time to look whether the client still takes part. */
  #mayStall(): void {
    const isFree = this.#sink !== null && !this.#body.blocked;
    const found = this.#stall.look(this.#driver.now, this.#state === BODY, isFree);
    if (found === null) return;
    if (typeof found === "number") return this.#driver.timers.arm(this.#timer, found);
    this.#options.stalled?.(found, this.#x.conn);
    const why = this.#stall.why(found);
    if (found === "slow") return this.#broken(new MeshError("bad-request", why));
    this.#lost(why);
    this.#shut("reset");
  }

  /** From now on something is expected of the client. */
  #expect(): void {
    this.#stall.movedMs = this.#driver.now;
    this.#driver.timers.arm(this.#timer, this.#stall.movedMs + this.#stall.ms);
  }

  /** The request's body will not become whole. */
  #broken(why: MeshError): void {
    const sink = this.#sink;
    this.#sink = null;
    sink?.abort(why);
    if (this.#headSent) this.abort(why);
    else this.fail(why);
  }

  // --- requests ---------------------------------------------------------------------------------

  #feedHead(buf: Uint8Array, from: number, to: number): number {
    const x = this.#x;
    // An empty line before a request is allowed (RFC 9112 §2.2).
    let start = from;
    while (start < to && (buf[start] === 13 || buf[start] === 10) && start - from < 4) start++;
    if (start === to) return start - from;
    if (this.#scanned > 0 && to - start <= this.#options.maxHeadBytes) {
      const worth = worthParsing(buf, start, to, this.#scanned);
      this.#scanned = to - start;
      if (!worth) return start - from;
    }
    const n = parseRequest(x.request, buf, start, to, this.#options.maxHeadBytes);
    if (n === INCOMPLETE) {
      if (this.#scanned === 0) {
        this.#driver.timers.arm(this.#timer, this.#driver.now + this.#options.headMs);
      }
      this.#scanned = to - start;
      return start - from;
    }
    this.#scanned = 0;
    if (n < 0) {
      const { why, status } = headError(n, this.#options.maxHeadBytes);
      this.#refuse(why, status);
      return to - from;
    }
    x.begin(this.#driver.now);
    this.#options.inFlight.count++;
    this.#headSent = false;
    this.#close = this.#fin || x.request.close;
    this.#body.begin(x.request.bodyLength);
    this.#state = this.#body.done ? WAIT : BODY;
    this.wake = null;
    this.#answered = false;
    this.#replyEnded = false;
    const sink = this.#options.service(x, this);
    // The service may have answered before it returned.
    if (this.#answered) return start + n - from;
    x.request.retain(); // from here on a copy: the bytes are lent for this call
    this.#sink = sink;
    sink.wake = this.#resume;
    if (this.#body.done) sink.end();
    else this.#expect();
    return start + n - from;
  }

  /** Answers what never became an exchange, and closes. */
  #refuse(why: MeshError, status?: number): void {
    this.#options.refused(why, this.#x.conn);
    const out = this.#driver.reserve(this.#ch, ERROR_ROOM);
    const at = out.at;
    const options = { text: this.#tell, close: true, ...(status === undefined ? {} : { status }) };
    this.#driver.commit(this.#ch, writeError(why, options, out.buf, at) - at);
    this.#linger();
  }

  #feedBody(buf: Uint8Array, from: number, to: number): number {
    const sink = this.#sink;
    if (sink === null) return to - from;
    this.#stall.movedMs = this.#driver.now;
    const generation = this.#x.generation;
    const n = this.#body.read(buf, from, to, sink);
    if (this.#x.generation !== generation || this.#sink !== sink) return n < 0 ? to - from : n;
    const { done, trailers } = this.#body;
    this.#x.requestTrailers = done ? parseTrailers(trailers) : null;
    if (n === BAD_CHUNK || (done && trailers.length > 0 && this.#x.requestTrailers === null)) {
      const why = new MeshError("bad-request", "The request body is not well-formed chunks");
      this.#options.refused(why, this.#x.conn);
      this.#broken(why);
      return to - from;
    }
    if (done) {
      this.#state = WAIT;
      sink.end();
    } else if (this.#body.blocked) this.#driver.pause(this.#ch);
    return n;
  }

  // --- the reply ----------------------------------------------------------------------------------

  informational(head: ResponseHead): void {
    if (this.#headSent || this.#x.request.minor === 0) return;
    if (head.status === 100) this.#driver.send(this.#ch, CONTINUE_HEAD, 0, CONTINUE_HEAD.length);
    else this.#writeHead(head, false);
  }

  head(head: ResponseHead): void {
    this.#x.status = head.status;
    this.#headSent = true;
    if (head.tunnel) {
      this.#state = TUNNEL;
      this.#stop();
      this.#writeHead(head, false);
      this.#driver.resume(this.#ch);
      return;
    }
    const { minor } = this.#x.request;
    this.#chunked = mustChunk(head.bodyLength, minor) && !this.#x.request.isHead;
    if (minor === 0 && head.bodyLength < 0) this.#close = true;
    if (this.#options.draining() || this.#x.endsClient) this.#close = true;
    this.#writeHead(head, this.#chunked);
  }

  #writeHead(head: ResponseHead, chunked: boolean): void {
    const framing = this.#framing;
    framing.chunked = chunked;
    framing.close = this.#close && head.status >= 200 && !head.tunnel;
    framing.minor = this.#x.request.minor;
    const out = this.#driver.reserve(this.#ch, headRoom(head));
    const at = out.at;
    const end = writeResponse(head, framing, out.buf, at);
    this.#driver.commit(this.#ch, end - at);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#state === TUNNEL) return this.#driver.send(this.#ch, buf, from, to);
    const hasRoom = this.#chunked
      ? sendChunk(this.#driver, this.#ch, buf, from, to)
      : this.#driver.send(this.#ch, buf, from, to);
    if (!hasRoom && !this.#stall.full) {
      this.#stall.full = true;
      this.#expect();
    }
    return hasRoom;
  }

  end(): void {
    if (this.#state === TUNNEL) {
      this.#replyEnded = true;
      if (this.#fin) this.#finishTunnel();
      else this.#driver.shutdown(this.#ch);
      return;
    }
    if (this.#chunked) {
      const { trailers, request } = this.#x;
      if (trailers !== null && request.wantsTrailers) {
        sendTrailers(this.#driver, this.#ch, trailers);
      } else sendLastChunk(this.#driver, this.#ch);
    }
    this.#chunked = false;
    this.#finished();
  }

  abort(why: MeshError): void {
    this.#x.error = why;
    this.#sink = null;
    this.#answered = true;
    this.#stop();
    this.#finish();
    // A response that was cut short must not look whole.
    this.#shut("reset");
  }

  fail(why: MeshError): void {
    const x = this.#x;
    const ends = endsConnection(why.kind, x.conn);
    x.error = why;
    x.status = RESPONSES[why.kind].status;
    if (ends || this.#options.draining()) this.#close = true;
    this.#headSent = true;
    const out = this.#driver.reserve(this.#ch, ERROR_ROOM);
    const at = out.at;
    const unread = this.#state === BODY;
    const endPeer = ends && x.conn.direction === "inbound";
    const options = { text: this.#tell, close: this.#close || unread, endPeer };
    this.#driver.commit(this.#ch, writeError(why, options, out.buf, at) - at);
    this.#finished();
  }

  #finishTunnel(): void {
    this.#sink = null;
    this.#finish();
    this.#shut("flush");
  }

  /** The response is complete. */
  #finished(): void {
    const sink = this.#sink;
    this.#sink = null;
    this.#stall.full = false;
    this.#answered = true;
    this.wake = null;
    this.#finish();
    if (this.#state === BODY) {
      // Answered before the body was read: the connection cannot be used again.
      sink?.abort(new MeshError("client-gone", "answered before the request body was read"));
      this.#linger();
      return;
    }
    if (this.#close) {
      this.#stop();
      this.#state = LINGER;
      this.#shut("flush");
      return;
    }
    this.#state = HEAD;
    this.#scanned = 0;
    this.#driver.timers.arm(this.#timer, this.#driver.now + this.#options.idleMs);
    this.#driver.resume(this.#ch);
  }

  /** Ends our direction and drops what the client still sends, for a bounded time. */
  #linger(): void {
    this.#state = LINGER;
    this.#driver.shutdown(this.#ch);
    this.#driver.resume(this.#ch);
    this.#driver.timers.arm(this.#timer, this.#driver.now + LINGER_MS);
  }
}
