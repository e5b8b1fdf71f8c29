// One request of an HTTP/2 client and the reply to it: what http1/server.ts does for a connection,
// done for a stream. Pooled with its exchange; used again once the stream is closed and the reply over.

import { MeshError } from "../../core/errors.ts";
import { Exchange, type Reply, type Sink } from "../../core/exchange.ts";
import { ResponseHead } from "../../core/head.ts";
import { isGrpc } from "../http/grpc.ts";
import { endsConnection, RESPONSES } from "../http/respond.ts";
import { TOO_LARGE } from "../http1/codes.ts";
import { asksHttp2 } from "../http1/framing.ts";
import { errorBlockRoom, writeErrorBlock, writeGrpcStatus } from "./error-blocks.ts";
import {
  CONNECT_ERROR,
  ENHANCE_YOUR_CALM,
  INTERNAL_ERROR,
  NO_ERROR,
  PROTOCOL_ERROR,
} from "./frames.ts";
import { giveKey, refuseUpgrade, takeAccept } from "./extended-connect.ts";
import type { FieldSink } from "./hpack-decoder.ts";
import { ORIG_PROTO } from "./orig-proto.ts";
import { headReader } from "./read-heads.ts";
import type { Http2Server } from "./server.ts";
import { Http2Stream, type ResetHow } from "./stream.ts";
import { blockRoom, writeResponseBlock, writeTrailerBlock } from "./write-heads.ts";

/** The reply has not begun. */
const AWAITED = 0;
/** Its head is out. */
const HEADED = 1;
/** Nothing more will be said by the service. */
const REPLIED = 2;

export class ServerStream extends Http2Stream implements Reply {
  /** Set by whoever sends the response; called when the client can take more. */
  wake: (() => void) | null = null;
  #server: Http2Server;
  readonly #x: Exchange;
  #sink: Sink | null = null;
  #reply = AWAITED;
  /** The request reached the service, so that its exchange must end. */
  #begun = false;
  #closed = false;
  #grpc = false;
  #tunnel = false;
  /** What the application must answer the WebSocket key that it was given; null: none was. */
  #accept: string | null = null;
  #requestDone = false;
  /** Declared bytes of the response that are not sent; -1: not declared. */
  #left = -1;
  #trailers: ResponseHead | null = null;
  #hasTrailers = false;
  /** What ends the response when all of its body is out. */
  #last: MeshError | "trailers" | null = null;
  readonly #more = () => {
    // Before a tunnel is open, nothing of it is passed on.
    if (this.#tunnel || !this.#mayTunnel) this.#server.session.more(this);
  };

  constructor(server: Http2Server) {
    super();
    this.#server = server;
    this.#x = new Exchange(server.conn);
    this.#x.request.major = 2;
  }

  /** Makes a stream of the pool one of this connection. */
  begin(server: Http2Server): void {
    this.#server = server;
    this.#x.conn = server.conn;
    this.#x.request.major = 2; // a request that was upgraded left it at 1
    this.#reply = AWAITED;
    this.#begun =
      this.#closed =
      this.#grpc =
      this.#tunnel =
        false;
    this.#requestDone = this.#hasTrailers = false;
    this.#left = -1;
    this.#last = null;
    this.wake = null;
  }

  /** Whether the request asks for a tunnel. */
  get #mayTunnel(): boolean {
    const { isConnect, upgrade } = this.#x.request;
    return isConnect || upgrade;
  }

  // --- the request ------------------------------------------------------------------------------

  onFields(): FieldSink {
    const { maxHeadBytes } = this.#server;
    if (!this.headed) return headReader.beginRequest(this.#x.request, maxHeadBytes);
    this.#trailers ??= new ResponseHead();
    this.#trailers.major = 2;
    return headReader.beginTrailers(this.#trailers, maxHeadBytes);
  }

  onHead(end: boolean): number {
    this.headed = true;
    const { options, driver } = this.#server;
    const x = this.#x;
    const code = headReader.finishRequest(end);
    if (code === TOO_LARGE) {
      const what = `The request head is larger than ${this.#server.maxHeadBytes} bytes`;
      this.#refuse(new MeshError("head-too-large", what));
      return NO_ERROR;
    }
    if (code !== 0) {
      this.#server.refused(new MeshError("bad-request", "The request head is malformed"));
      this.#reply = REPLIED;
      return PROTOCOL_ERROR;
    }
    if (x.request.upgrade && asksHttp2(x.request)) {
      this.#refuse(
        new MeshError("unsupported", "HTTP/2 is begun by its preface, not by an upgrade"),
      );
      return NO_ERROR;
    }
    this.expected = headReader.contentLength;
    x.begin(driver.now);
    options.inFlight.count++;
    this.#begun = true;
    x.request.retain();
    this.#grpc = isGrpc(x.request);
    const mayTunnel = this.#mayTunnel;
    this.#accept = x.request.upgrade ? giveKey(x.request) : null;
    // A tunnel's bytes wait for the answer.
    this.stopped = mayTunnel;
    this.duplex = mayTunnel;
    const sink = options.service(x, this);
    // The service may have answered before it returned.
    if (this.#reply === REPLIED || this.#closed) return NO_ERROR;
    this.#sink = sink;
    sink.wake = this.#more;
    if (mayTunnel) sink.end();
    if (this.#tunnel) this.#more();
    return NO_ERROR;
  }

  /** Answers what never became an exchange. */
  #refuse(why: MeshError): void {
    this.#server.refused(why);
    this.#reply = REPLIED;
    this.#writeError(why);
  }

  onData(buf: Uint8Array, from: number, to: number): boolean {
    return this.#sink === null || this.#sink.data(buf, from, to);
  }

  onTrailers(): number {
    const code = headReader.finishTrailers();
    if (code === TOO_LARGE) return ENHANCE_YOUR_CALM;
    if (code !== 0 || this.#tunnel) return PROTOCOL_ERROR;
    this.#trailers?.retain();
    this.#hasTrailers = true;
    return NO_ERROR;
  }

  onEnd(): void {
    this.#requestDone = true;
    this.#x.requestTrailers = this.#hasTrailers ? this.#trailers : null;
    this.#sink?.end();
  }

  onWritable(): void {
    const last = this.#last;
    if (last === null) {
      this.wake?.();
      return;
    }
    this.#last = null;
    if (last === "trailers") this.#sendTrailers();
    else this.#grpcTrailers(last);
  }

  onReset(code: number, how: ResetHow): void {
    const x = this.#x;
    const text = how === "error"
      ? "The client broke the protocol"
      : `the client ${how === "peer" ? "cancelled" : "went away"} (HTTP/2 error ${code})`;
    const why = new MeshError(how === "error" ? "bad-request" : "client-gone", text, {
      reset: how === "peer" ? code : null,
    });
    if (how === "error" && this.#begun) this.#server.refused(why);
    if (this.#reply !== REPLIED || this.#tunnel) x.error ??= why;
    this.#reply = REPLIED;
    const sink = this.#sink;
    this.#sink = null;
    sink?.abort(why);
  }

  onClosed(): void {
    this.#closed = true;
    if (this.#reply === REPLIED) this.#release();
  }

  /** The exchange is over: tells the stack, once, and keeps the stream for another. */
  #release(): void {
    if (this.#begun) {
      this.#begun = false;
      this.#server.options.inFlight.count--;
      this.#x.finish();
    }
    this.#sink = null;
    this.wake = null;
    this.#server.recycle(this);
  }

  // --- the reply --------------------------------------------------------------------------------

  informational(head: ResponseHead): void {
    if (this.#reply !== AWAITED || this.id === 0 || head.status === 101) return;
    this.#writeHead(head, false);
  }

  head(head: ResponseHead): void {
    const x = this.#x;
    x.status = head.status;
    this.#reply = HEADED;
    if (this.id === 0) return;
    if (head.tunnel) {
      this.#openTunnel(head);
      return;
    }
    this.duplex = false;
    if (x.endsClient) this.#server.drain();
    if (x.request.upgrade && head.status >= 200 && head.status < 300) {
      refuseUpgrade(head, x.request.major === 1);
    }
    // Without trailers to come, the length says where END_STREAM belongs. (HTTP/1's are chunked.)
    // A head that ended HTTP/2's own response ends this one too: gRPC tells that apart.
    this.#left = head.bodyLength === 0 || head.major === 1 ? Math.max(-1, head.bodyLength) : -1;
    if (x.request.major === 1) head.set(ORIG_PROTO, head.minor === 0 ? "HTTP/1.0" : "HTTP/1.1");
    this.#writeHead(head, this.#left === 0 || x.request.isHead);
  }

  #openTunnel(head: ResponseHead): void {
    if (this.#accept !== null && !takeAccept(head, this.#accept)) {
      const what = "The application answered another key than that of the WebSocket";
      this.#reply = AWAITED;
      this.fail(new MeshError("upstream-protocol", what));
      return;
    }
    this.#tunnel = true;
    if (head.status === 101) head.status = 200;
    if (this.#x.request.major === 1) head.set(ORIG_PROTO, "HTTP/1.1");
    this.#writeHead(head, false);
    // While the service runs, its sink is not known yet.
    if (this.#sink !== null) this.#more();
  }

  #writeHead(head: ResponseHead, end: boolean): void {
    const { session } = this.#server;
    const out = session.openBlock(blockRoom(head));
    session.closeBlock(this, out, writeResponseBlock(session.encoder, head, out.buf, out.at), end);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.id === 0) return true;
    let last = false;
    if (this.#left > 0) {
      this.#left -= to - from;
      last = this.#left === 0;
    }
    return this.#server.session.data(this, buf, from, to, last);
  }

  end(): void {
    if (this.#reply === REPLIED || !this.#begun) return;
    if (this.#tunnel) {
      // half-close: the stream is over when the client has ended too
      this.#reply = REPLIED;
      this.#server.session.end(this);
      return;
    }
    this.#replied();
    if (this.#closed) return this.#release();
    if (this.localEnded || this.endsAfter) return;
    if (this.#x.trailers === null) this.#server.session.end(this);
    else if (this.#server.session.pending(this)) this.#afterBody("trailers");
    else this.#sendTrailers();
  }

  /** The service has said all: what is left of the request is not wanted. */
  #replied(): void {
    this.#reply = REPLIED;
    this.wake = null;
    const sink = this.#sink;
    this.#sink = null;
    if (!this.#requestDone) {
      sink?.abort(new MeshError("client-gone", "answered before the request body was read"));
    }
  }

  #afterBody(what: MeshError | "trailers"): void {
    this.#last = what;
    this.waits = true;
  }

  #sendTrailers(): void {
    const { trailers } = this.#x;
    const { session } = this.#server;
    if (trailers === null) return session.end(this);
    const out = session.openBlock(blockRoom(trailers));
    session.closeBlock(
      this,
      out,
      writeTrailerBlock(session.encoder, trailers, out.buf, out.at),
      true,
    );
  }

  abort(why: MeshError): void {
    if (!this.#begun || (this.#reply === REPLIED && !this.#tunnel)) return;
    const tunnel = this.#tunnel;
    this.#x.error = why;
    this.#reply = REPLIED;
    this.#tunnel = false;
    this.#sink = null;
    if (this.#closed) return this.#release();
    if (this.#grpc && !tunnel && why.reset === null && !this.localEnded && !this.endsAfter) {
      if (this.#server.session.pending(this)) this.#afterBody(why);
      else this.#grpcTrailers(why);
      return;
    }
    const code = why.reset ?? (tunnel ? CONNECT_ERROR : INTERNAL_ERROR);
    this.#server.session.reset(this, code);
  }

  fail(why: MeshError): void {
    if (this.#reply !== AWAITED || !this.#begun) return;
    const x = this.#x;
    x.error = why;
    x.status = this.#grpc ? 200 : RESPONSES[why.kind].status;
    this.duplex = false;
    this.#replied();
    if (this.#closed) return this.#release();
    if (why.reset !== null) this.#server.session.reset(this, why.reset);
    else this.#writeError(why);
    // The errors that end an HTTP/1 connection drain this one, so that others finish.
    if (why.kind !== "bad-request" && endsConnection(why.kind, x.conn)) this.#server.drain();
  }

  #writeError(why: MeshError): void {
    const { session, tell } = this.#server;
    const out = session.openBlock(errorBlockRoom(why));
    const { conn } = this.#x;
    const endPeer = conn.direction === "inbound" && endsConnection(why.kind, conn);
    const how = { grpc: this.#grpc, tell, endPeer };
    const to = writeErrorBlock(session.encoder, why, how, out.buf, out.at);
    session.closeBlock(this, out, to, true);
  }

  /** A gRPC call that fails midway ends with a status of ours. */
  #grpcTrailers(why: MeshError): void {
    const { session, tell } = this.#server;
    const out = session.openBlock(errorBlockRoom(why));
    session.closeBlock(
      this,
      out,
      writeGrpcStatus(session.encoder, why, tell, out.buf, out.at),
      true,
    );
  }
}
