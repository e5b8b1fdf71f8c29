// One HTTP/1 connection to an endpoint: a request at a time out, its response back. Belongs to an
// `EndpointClient`, which keeps the idle ones.

import type { Chan, ChanError, Core, Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import { ResponseHead } from "../../core/head.ts";
import { BAD_CHUNK, BodyReader } from "./body.ts";
import { sendChunk, sendLastChunk } from "./chunks.ts";
import { requestRoom, writeRequest } from "./encode.ts";
import { CHUNKED, INCOMPLETE, TOO_LARGE } from "./codes.ts";
import { parseResponse } from "./parse.ts";
import { parseTrailers, sendTrailers } from "./trailers.ts";

/** How an exchange left its connection; `abandoned`: it says nothing about the endpoint. */
export type ExchangeOutcome = "ok" | "failed" | "abandoned";

/** What a connection needs of its owner. */
export interface ClientOwner {
  /** For error messages: who is at the other end. */
  readonly name: string;
  /** Sent once, first: the transport header of a mesh connection, or null. */
  readonly preface: Uint8Array | null;
  readonly maxHeadBytes: number;
  /** The connection is up. */
  connected(ch: Chan): void;
  /** No connection could be made. */
  unreachable(why: ChanError | null): void;
  /** The response head arrived `ms` after the request was sent. */
  answered(ms: number): void;
  /**
   * The exchange left this connection; `reusable`: it may be used again. `status` is the response's,
   * 0 without one; `ms` since the request was sent.
   */
  released(
    client: Http1Client,
    reusable: boolean,
    status: number,
    ms: number,
    outcome: ExchangeOutcome,
  ): void;
  /** The connection ended; after `connected`. */
  disconnected(): void;
  /** A kept connection was closed by the peer before anything came back: try again on a new one. */
  again(x: Exchange, reply: Reply): Sink;
}

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

export class Http1Client implements Core, Sink {
  /** Set by whoever sends the request; called when the endpoint can take more. */
  wake: (() => void) | null = null;
  /** When the last exchange left, on the driver's clock. */
  idleSinceMs = 0;
  /** Its owner's: a request was given to it that has not left. */
  isBusy = false;
  readonly #driver: Driver;
  readonly #owner: ClientOwner;
  #ch: Chan = 0;
  #open = false;
  #x: Exchange | null = null;
  #reply: Reply | null = null;
  /** Where a late abort goes after `again`. */
  #successor: Sink | null = null;
  readonly #head = new ResponseHead();
  readonly #body = new BodyReader();
  #reading = false; // the head is in, the body is read
  #tunnel = false;
  #tunnelEnded = false;
  #requestDone = true;
  #chunkedRequest = false;
  #bytesIn = false;
  #bodyOut = false;
  #used = 0;
  #sentMs = 0;
  /** Body bytes that came before the connection was open. */
  #early: Uint8Array[] = [];
  #earlyEnd = false;
  readonly #resume = () => {
    this.#body.blocked = false;
    this.#driver.resume(this.#ch);
  };

  constructor(driver: Driver, owner: ClientOwner) {
    this.#driver = driver;
    this.#owner = owner;
  }

  /** Tells the connection its channel, right after `driver.connect`. */
  begin(ch: Chan): void {
    this.#ch = ch;
  }

  /** Sends a request. The connection must be idle, or new and still connecting. */
  start(x: Exchange, reply: Reply): Sink {
    this.#x = x;
    this.#reply = reply;
    this.#requestDone = false;
    this.#reading = false;
    this.#bytesIn = false;
    this.#bodyOut = false;
    this.#chunkedRequest = x.request.bodyLength === CHUNKED;
    this.#sentMs = this.#driver.now;
    this.wake = null;
    reply.wake = this.#resume;
    if (this.#open) this.#send(x);
    return this;
  }

  #send(x: Exchange): void {
    this.#used++;
    const head = x.request;
    const out = this.#driver.reserve(this.#ch, requestRoom(head));
    const at = out.at;
    this.#driver.commit(this.#ch, writeRequest(head, out.buf, at) - at);
  }

  // --- the request's body -------------------------------------------------------------------------

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (!this.#open) {
      this.#early.push(buf.slice(from, to));
      return false;
    }
    this.#bodyOut = true;
    if (this.#chunkedRequest && !this.#tunnel) {
      return sendChunk(this.#driver, this.#ch, buf, from, to);
    }
    return this.#driver.send(this.#ch, buf, from, to);
  }

  end(): void {
    const x = this.#x;
    if (x === null) return;
    if (!this.#open) {
      this.#earlyEnd = true;
      return;
    }
    if (this.#tunnel) {
      this.#driver.shutdown(this.#ch);
      return;
    }
    if (this.#requestDone) return;
    this.#requestDone = true;
    if (!this.#chunkedRequest) return;
    if (x.requestTrailers !== null) sendTrailers(this.#driver, this.#ch, x.requestTrailers);
    else sendLastChunk(this.#driver, this.#ch);
  }

  abort(why: MeshError): void {
    if (this.#successor !== null) {
      const next = this.#successor;
      this.#successor = null;
      next.abort(why);
      return;
    }
    if (this.#x === null) return;
    this.#leave(false, why.kind === "client-gone" ? "abandoned" : "failed");
    this.#shut("reset");
  }

  // --- the driver says ----------------------------------------------------------------------------

  opened(ch: Chan): void {
    this.#ch = ch;
    this.#open = true;
    this.#owner.connected(ch);
    const { preface } = this.#owner;
    if (preface !== null) this.#driver.send(ch, preface, 0, preface.length);
    const x = this.#x;
    if (x === null) return;
    this.#send(x);
    let ready = true;
    for (const piece of this.#early) ready = this.data(piece, 0, piece.length);
    const had = this.#early.length > 0;
    this.#early = [];
    if (this.#earlyEnd) {
      this.#earlyEnd = false;
      this.end();
    } else if (had && ready) this.wake?.();
  }

  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number {
    const reply = this.#reply;
    if (reply === null) {
      // Nothing was asked: the endpoint does not speak HTTP as we do.
      this.#owner.released(this, false, 0, 0, "abandoned");
      this.#shut("reset");
      return to - from;
    }
    this.#bytesIn = true;
    if (this.#tunnel) {
      if (!reply.data(buf, from, to)) this.#driver.pause(ch);
      return to - from;
    }
    if (!this.#reading) return this.#feedHead(reply, buf, from, to);
    const n = this.#body.read(buf, from, to, reply);
    if (this.#reply !== reply) return n < 0 ? to - from : n;
    if (n === BAD_CHUNK) {
      this.#broken("upstream-protocol", "sent a body that is not well-formed chunks");
      this.#shut("reset");
      return to - from;
    }
    if (this.#body.done) this.#complete();
    else if (this.#body.blocked) this.#driver.pause(ch);
    return n;
  }

  #feedHead(reply: Reply, buf: Uint8Array, from: number, to: number): number {
    const x = this.#x as Exchange;
    const head = this.#head;
    const { isHead, isConnect } = x.request;
    const n = parseResponse(head, buf, from, to, this.#owner.maxHeadBytes, isHead, isConnect);
    if (n === INCOMPLETE) return 0;
    if (n < 0) {
      this.#broken(
        "upstream-protocol",
        n === TOO_LARGE
          ? `sent a head over ${this.#owner.maxHeadBytes} bytes`
          : "answered what is not HTTP/1",
      );
      this.#shut("reset");
      return to - from;
    }
    if (head.status < 200 && head.status !== 101) {
      reply.informational(head);
      return n;
    }
    if (head.status === 101 && !x.request.upgrade) {
      this.#broken("upstream-protocol", "switched protocols unasked");
      this.#shut("reset");
      return to - from;
    }
    this.#owner.answered(this.#driver.now - this.#sentMs);
    this.#reading = true;
    this.#tunnel = head.tunnel;
    if (!head.tunnel) this.#body.begin(head.bodyLength);
    reply.head(head);
    if (this.#reply === reply && !head.tunnel && this.#body.done) this.#complete();
    return n;
  }

  /** The response is whole: the connection is free before its reply ends, so that it can be taken at once. */
  #complete(): void {
    const reply = this.#reply;
    if (this.#x !== null) this.#x.trailers = parseTrailers(this.#body.trailers);
    const reusable = this.#requestDone && !this.#head.close && !this.#body.untilClose;
    this.#leave(reusable, "ok");
    if (!reusable) this.#shut("flush");
    reply?.end();
  }

  #leave(reusable: boolean, outcome: ExchangeOutcome): void {
    const status = this.#reading ? this.#head.status : 0;
    this.#x = null;
    this.#reply = null;
    this.wake = null;
    if (this.#early.length > 0) this.#early = [];
    this.idleSinceMs = this.#driver.now;
    this.#owner.released(this, reusable, status, this.#driver.now - this.#sentMs, outcome);
  }

  /** Ends the channel and says so; the driver does not tell a core that closes by itself. */
  #shut(how: "flush" | "reset"): void {
    if (this.#open) this.#owner.disconnected();
    this.#open = false;
    this.#driver.close(this.#ch, how);
  }

  writable(): void {
    this.wake?.();
  }

  ended(): void {
    if (this.#tunnel && this.#reply !== null) {
      this.#tunnelEnded = true;
      this.#reply.end();
      return;
    }
    if (this.#reply !== null && this.#reading && this.#body.untilClose) {
      this.#complete();
      return;
    }
    this.#gone(null);
    this.#shut("flush");
  }

  closed(_ch: Chan, why: ChanError | null): void {
    if (this.#tunnel && this.#reply !== null) {
      const reply = this.#reply;
      this.#leave(false, why === null ? "ok" : "failed");
      if (why !== null) {
        reply.abort(new MeshError("upstream-closed", `${this.#owner.name} reset the tunnel`));
      } else if (!this.#tunnelEnded) reply.end();
    } else this.#gone(why);
    if (this.#open) this.#owner.disconnected();
    this.#open = false;
  }

  #gone(why: ChanError | null): void {
    const reply = this.#reply;
    const x = this.#x;
    if (reply === null || x === null) {
      this.#owner.released(this, false, 0, 0, "abandoned");
      return;
    }
    const { name } = this.#owner;
    if (!this.#open) {
      const kind = why?.kind === "reset" || why === null ? "connect" : why.kind;
      this.#owner.unreachable(why);
      this.#broken(
        kind,
        `did not accept the connection: ${why?.message ?? "closed"}`,
        `Connect to ${name} failed`,
      );
      return;
    }
    const whole = x.request.bodyLength === 0 || !this.#bodyOut;
    if (
      !this.#bytesIn && this.#used > 1 && whole && this.#requestDone &&
      IDEMPOTENT.has(x.request.method)
    ) {
      this.#leave(false, "abandoned");
      this.#successor = this.#owner.again(x, reply);
      this.#successor.end();
      return;
    }
    this.#broken("upstream-closed", "closed the connection before the response was complete");
  }

  #broken(kind: MeshError["kind"], what: string, says?: string): void {
    const reply = this.#reply;
    const headSent = this.#reading;
    this.#leave(false, "failed");
    const text = says === undefined
      ? `${this.#owner.name} ${what}`
      : `${says}: ${what.replace(/^[^:]*: /, "")}`;
    const error = new MeshError(kind, text);
    if (headSent) reply?.abort(error);
    else reply?.fail(error);
  }

  /** Closes an idle connection. */
  discard(): void {
    this.#shut("flush");
  }
}
