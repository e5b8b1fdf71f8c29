// One request to an endpoint over HTTP/2, and its response: the exchange on one side, a stream of a
// session on the other. Keeps what it sent until the response begins, so that a request which was not
// processed can go out again. Placed on a connection by `endpoint-client.ts`.

import type { Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import { ResponseHead } from "../../core/head.ts";
import { grpcStatusOf, isGrpcFailure } from "../http/grpc.ts";
import type { ExchangeOutcome } from "../http1/client.ts";
import { CHUNKED } from "../http1/codes.ts";
import { upgradeField } from "../http1/framing.ts";
import type { Http2Client } from "./client.ts";
import { mayExtend, restoreRefusal, switched } from "./extended-connect.ts";
import { CANCEL, ERROR_NAMES, NO_ERROR, PROTOCOL_ERROR } from "./frames.ts";
import type { FieldSink } from "./hpack-decoder.ts";
import { headReader } from "./read-heads.ts";
import { sendRequestHead, sendTrailers, type Towards } from "./send-heads.ts";
import { Http2Stream, type ResetHow } from "./stream.ts";

/** What a request needs of the endpoint that it goes to. */
export interface StreamOwner extends Towards {
  /** For error messages. */
  readonly name: string;
  readonly maxHeadBytes: number;
  /** Finds a connection; it is sent now or later. */
  place(stream: ClientStream): void;
  /** Sends a request again that was not processed, and says who takes the rest of it; null: it is placed
   * here again. */
  again(x: Exchange, reply: Reply): Sink | null;
  /** It waits for no connection any more. */
  forget(stream: ClientStream): void;
  answered(ms: number): void;
  ended(status: number, ms: number, outcome: ExchangeOutcome, grpcStatus: number): void;
  /** It may be used again: nobody refers to it. */
  recycle(stream: ClientStream): void;
}

/** A body up to this size can go out again. */
const REPLAY_BYTES = 64 * 1024;
/** A buffer over this is given back when its request is over. */
const KEEP_BYTES = 8 * 1024;
/** How often a request that was not processed goes out again. */
const MAX_REPLAYS = 3;
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);
const EMPTY = new Uint8Array(0);

export class ClientStream extends Http2Stream implements Sink {
  /** Set by whoever sends the request; called when the endpoint can take more. */
  wake: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #owner: StreamOwner;
  readonly #head = new ResponseHead();
  #x: Exchange | null = null;
  /** It goes out only where the peer's SETTINGS are in, which say how. */
  isUpgrade = false;
  #reply: Reply | null = null;
  /** The connection that has it; null: it waits for one. */
  #client: Http2Client | null = null;
  /** Who has the request instead, since it went out again. */
  #next: Sink | null = null;
  #sentMs = 0;
  /** What was sent of the body, or waits to be. */
  #kept: Uint8Array = EMPTY;
  #keptTo = 0;
  /** All of the body so far is in `#kept`. */
  #isWhole = true;
  /** Bytes that a declared length still promises; -1: it is not declared. */
  #left = -1;
  /** The sender was told to wait. */
  #stalled = false;
  #requestEnded = false;
  /** It went out as extended CONNECT (RFC 8441): a 2xx opens a tunnel. */
  #extended = false;
  /** Both directions carry raw bytes. */
  #tunnel = false;
  /** Trailers follow what is pending. */
  #trailersWait = false;
  /** Goes out again once its old stream is forgotten. */
  #again = false;
  /** The connection had other streams before this one. */
  #onUsed = false;
  /** The response came to its end. */
  #isComplete = false;
  readonly #resume = () => {
    this.#client?.session.more(this);
  };

  constructor(driver: Driver, owner: StreamOwner) {
    super();
    this.#driver = driver;
    this.#owner = owner;
    this.#head.major = 2;
  }

  /** A new request; `StreamOwner.place` comes next. */
  begin(x: Exchange, reply: Reply): void {
    this.#x = x;
    this.#reply = reply;
    this.isUpgrade = x.request.upgrade;
    this.#client = null;
    this.#next = null;
    this.#sentMs = this.#driver.now;
    this.#keptTo = 0;
    this.#isWhole = true;
    this.headed =
      this.#stalled =
      this.#requestEnded =
      this.#extended =
      this.#tunnel =
      this.#again =
      this.#isComplete =
        false;
    this.wake = null;
    reply.wake = this.#resume;
    x.trailers = null;
    x.grpcStatus = -1;
  }

  /** Goes out on a connection that has room. */
  send(client: Http2Client): void {
    const { request } = this.#x as Exchange;
    const { session } = client;
    this.#client = client;
    this.#onUsed = client.used > 1;
    this.#trailersWait = false;
    this.#extended = session.extends === true && mayExtend(request);
    this.#left = request.bodyLength === CHUNKED || this.#extended ? -1 : request.bodyLength;
    session.open(this);
    const ends = request.bodyLength === 0;
    sendRequestHead(session, this, request, this.#owner, ends, this.#extended);
    let ready = true;
    if (this.#keptTo > 0) ready = this.#push(this.#kept, 0, this.#keptTo);
    if (!this.#isWhole) this.#keptTo = 0;
    if (this.#requestEnded) this.#finish();
    else if (this.#stalled && ready) {
      this.#stalled = false;
      this.wake?.();
    }
  }

  // --- the request's body -------------------------------------------------------------------------

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#x === null) return this.#next?.data(buf, from, to) ?? true;
    const waits = this.#client === null;
    // What waits for a connection is kept whatever its size: its sender is told to stop.
    if (waits) this.#keep(buf, from, to);
    else if (this.#isWhole && !this.headed && this.#keptTo + to - from <= REPLAY_BYTES) {
      this.#keep(buf, from, to);
    } else this.#forgetBody();
    const ready = !waits && this.#push(buf, from, to);
    this.#stalled = !ready;
    return ready;
  }

  #push(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#left >= 0) this.#left = Math.max(0, this.#left - (to - from));
    return (this.#client as Http2Client).session.data(this, buf, from, to, this.#left === 0);
  }

  end(): void {
    if (this.#tunnel) {
      this.#client?.session.end(this); // half-close
      return;
    }
    if (this.#x === null) this.#next?.end();
    if (this.#x === null || this.#requestEnded) return;
    this.#requestEnded = true;
    if (this.#client !== null) this.#finish();
  }

  #finish(): void {
    const { session } = this.#client as Http2Client;
    const { requestTrailers } = this.#x as Exchange;
    // An upgrade has no body; what may follow is the tunnel's.
    if (this.localEnded || this.#extended) return;
    if (requestTrailers === null) session.end(this);
    else if (session.pending(this)) this.#trailersWait = this.waits = true;
    else sendTrailers(session, this, requestTrailers);
  }

  #keep(buf: Uint8Array, from: number, to: number): void {
    const need = this.#keptTo + to - from;
    if (need > this.#kept.length) {
      const grown = new Uint8Array(Math.max(1024, need, 2 * this.#keptTo));
      grown.set(this.#kept.subarray(0, this.#keptTo));
      this.#kept = grown;
    }
    this.#kept.set(buf.subarray(from, to), this.#keptTo);
    this.#keptTo = need;
    if (need > REPLAY_BYTES) this.#isWhole = false;
  }

  #forgetBody(): void {
    this.#isWhole = false;
    this.#keptTo = 0;
    if (this.#kept.length > KEEP_BYTES) this.#kept = EMPTY;
  }

  abort(why: MeshError): void {
    if (this.#x === null) {
      this.#next?.abort(why);
      return;
    }
    const client = this.#client;
    this.#owner.forget(this);
    this.#leave(why.kind === "client-gone" ? "abandoned" : "failed");
    client?.session.reset(this, CANCEL);
  }

  /** No connection could be made. */
  unreachable(why: MeshError): void {
    const reply = this.#reply;
    this.#owner.forget(this);
    this.#leave("abandoned"); // it was never there
    reply?.fail(why);
  }

  // --- the session says ---------------------------------------------------------------------------

  onFields(): FieldSink {
    const { maxHeadBytes } = this.#owner;
    if (!this.headed || this.#x === null) {
      const protocol = this.#extended && this.#x !== null ? upgradeField(this.#x.request) : "";
      return headReader.beginResponse(this.#head, maxHeadBytes, protocol);
    }
    return headReader.beginTrailers(this.#x.ownTrailers(), maxHeadBytes);
  }

  onHead(end: boolean): number {
    const x = this.#x;
    const reply = this.#reply;
    if (x === null || reply === null) return NO_ERROR;
    const head = this.#head;
    const { isHead, isConnect, major } = x.request;
    if (headReader.finishResponse(end, isHead, isConnect) !== 0) return PROTOCOL_ERROR;
    if (head.tunnel) {
      this.#openTunnel(x, reply);
      return NO_ERROR;
    }
    if (head.status < 200) {
      reply.informational(head);
      return NO_ERROR;
    }
    this.headed = true;
    if (this.#extended && this.#owner.origProto) restoreRefusal(head);
    const { contentLength } = headReader;
    this.expected = head.bodyLength === 0 ? 0 : contentLength;
    if (end) {
      x.grpcStatus = grpcStatusOf(head);
      // A client of HTTP/1 must see where a body of no declared length ends.
      if (
        major === 1 && contentLength < 0 && !isHead && head.status !== 204 && head.status !== 304
      ) {
        head.bodyLength = CHUNKED;
      }
    }
    this.#forgetBody();
    this.#owner.answered(this.#driver.now - this.#sentMs);
    reply.head(head);
    return NO_ERROR;
  }

  #openTunnel(x: Exchange, reply: Reply): void {
    this.headed = this.#tunnel = this.duplex = true;
    this.#owner.answered(this.#driver.now - this.#sentMs);
    switched(x.request, this.#head);
    reply.head(this.#head);
  }

  onTrailers(): number {
    const x = this.#x;
    if (x === null) return NO_ERROR;
    if (headReader.finishTrailers() !== 0 || this.#tunnel) return PROTOCOL_ERROR;
    const trailers = x.ownTrailers();
    trailers.retain();
    x.trailers = trailers;
    x.grpcStatus = grpcStatusOf(trailers);
    return NO_ERROR;
  }

  onData(buf: Uint8Array, from: number, to: number): boolean {
    return this.#reply?.data(buf, from, to) ?? true;
  }

  onEnd(): void {
    const reply = this.#reply;
    const x = this.#x;
    if (x === null || reply === null) return;
    if (this.#tunnel) {
      reply.end(); // half-close; `onClosed` follows when the other half is
      return;
    }
    this.#isComplete = this.#requestEnded;
    this.#leave(isGrpcFailure(x.grpcStatus) ? "failed" : "ok");
    reply.end();
    // Answered before it had all of the request: the rest is of no use to anyone.
    if (!this.localEnded) this.#client?.session.reset(this, CANCEL);
  }

  onWritable(): void {
    if (!this.#trailersWait) {
      this.#stalled = false;
      this.wake?.();
      return;
    }
    this.#trailersWait = false;
    const trailers = this.#x?.requestTrailers ?? null;
    if (this.#client !== null && trailers !== null) {
      sendTrailers(this.#client.session, this, trailers);
    }
  }

  onReset(code: number, how: ResetHow): void {
    const x = this.#x;
    if (x === null) return;
    const isFresh = !this.headed && this.#isWhole;
    // Idle or deaf connections are ended without a fault of the peer's.
    if (how === "error" && code === NO_ERROR) how = "lost";
    this.#again = how === "unprocessed"
      ? isFresh && x.replays < MAX_REPLAYS
      : how === "lost" && isFresh && this.#onUsed && x.replays === 0 &&
        IDEMPOTENT.has(x.request.method);
    if (this.#again) return;
    const { name } = this.#owner;
    if (how === "error") {
      this.#broken("upstream-protocol", `${name} broke a rule of HTTP/2 or stalled`, null);
    } else if (how === "lost") {
      const what = "closed the connection before the response was complete";
      this.#broken("upstream-closed", `${name} ${what}`, null);
    } else {
      const what = how === "unprocessed" ? "refused the request" : "reset the stream";
      const text = `${name} ${what} (${ERROR_NAMES[code] ?? code})`;
      this.#broken("upstream-closed", text, code);
    }
  }

  onClosed(): void {
    if (this.#again) {
      this.#again = false;
      this.#client = null;
      this.#resend();
    } else if (this.#tunnel && this.#x !== null) this.#leave("ok");
    else if (this.#isComplete) this.#owner.recycle(this);
  }

  /** Goes out again: by whom the owner names, or from here. */
  #resend(): void {
    const x = this.#x;
    const reply = this.#reply;
    if (x === null || reply === null) return;
    x.replays++;
    const next = this.#owner.again(x, reply);
    if (next === null) {
      this.#owner.place(this);
      return;
    }
    const kept = this.#kept.slice(0, this.#keptTo);
    const { wake } = this;
    this.#leave("abandoned");
    this.#next = next;
    this.wake = wake;
    next.wake = () => this.wake?.();
    const ready = kept.length === 0 || next.data(kept, 0, kept.length);
    if (this.#requestEnded) next.end();
    else if (this.#stalled && ready) this.wake?.();
  }

  #broken(kind: MeshError["kind"], text: string, reset: number | null): void {
    const reply = this.#reply;
    const { headed } = this;
    this.#leave("failed");
    const why = new MeshError(kind, text, { reset });
    if (headed) reply?.abort(why);
    else reply?.fail(why);
  }

  /** The exchange is over here. */
  #leave(outcome: ExchangeOutcome): void {
    const status = this.headed ? this.#head.status : 0;
    const grpcStatus = this.#x?.grpcStatus ?? -1;
    this.#x = null;
    this.#reply = null;
    this.wake = null;
    this.#forgetBody();
    this.#owner.ended(status, this.#driver.now - this.#sentMs, outcome, grpcStatus);
  }
}
