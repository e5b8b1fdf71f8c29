// Bodies that filters look at: piece by piece as they pass, or whole and bounded before anything is
// sent on. The request's filters run here once, before any attempt; the response's for what is returned.

import { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import {
  type BodyNeed,
  type BodyPiece,
  CONTINUE,
  HOOK_REQUEST_BODY,
  HOOK_RESPONSE_BODY,
  type Verdict,
} from "../../core/filter.ts";
import { ResponseHead } from "../../core/head.ts";
import { CHUNKED } from "../http1/codes.ts";
import { replyLocally } from "./local-reply.ts";

const EMPTY = new Uint8Array(0);

/** Sends the request to `inner`, its body and the response's through the chain. */
export function filterBodies(x: Exchange, reply: Reply, inner: HttpService): Sink {
  const { hooks, requestBody, responseBody } = x.chain;
  let response: ResponseBody | null = null;
  if ((hooks & HOOK_RESPONSE_BODY) !== 0 && responseBody !== null) {
    response = new ResponseBody(x, reply, responseBody);
  }
  const outer = response ?? reply;
  const { bodyLength, upgrade } = x.request;
  if ((hooks & HOOK_REQUEST_BODY) === 0 || requestBody === null || bodyLength === 0 || upgrade) {
    const sink = inner(x, outer);
    if (response !== null) response.request = sink;
    return sink;
  }
  const request = new RequestBody(x, outer, requestBody, inner);
  if (response !== null) response.request = request;
  request.begin();
  return request;
}

/** A body that is held, or was too long for it, or passes. */
class Held {
  readonly #pieces: Uint8Array[] = [];
  bytes = 0;

  push(buf: Uint8Array, from: number, to: number): void {
    this.#pieces.push(buf.slice(from, to));
    this.bytes += to - from;
  }

  /** All of it; forgets it. */
  take(): Uint8Array {
    const all = new Uint8Array(this.bytes);
    let at = 0;
    for (const piece of this.#pieces.splice(0)) {
      all.set(piece, at);
      at += piece.length;
    }
    this.bytes = 0;
    return all;
  }
}

const HOLDING = 0;
const PASSING = 1;
const OVER = 2;

class RequestBody implements Sink {
  readonly #x: Exchange;
  readonly #reply: Reply;
  readonly #need: BodyNeed;
  readonly #inner: HttpService;
  readonly #held = new Held();
  readonly #piece: BodyPiece = { buf: EMPTY, from: 0, to: 0 };
  #next: Sink | null = null;
  #state = HOLDING;
  #tooLong = false;
  wake: (() => void) | null = null;

  constructor(x: Exchange, reply: Reply, need: BodyNeed, inner: HttpService) {
    this.#x = x;
    this.#reply = reply;
    this.#need = need;
    this.#inner = inner;
  }

  begin(): void {
    const { request } = this.#x;
    if (this.#need.wholeBytes === 0) this.#pass();
    else if (request.bodyLength > this.#need.wholeBytes) this.#over();
    else if (request.expectsContinue) {
      // it is read here, so that it is asked for here
      request.expectsContinue = false;
      const head = new ResponseHead();
      head.status = 100;
      this.#reply.informational(head);
    }
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#state === OVER) return true;
    if (this.#state === HOLDING) {
      if (this.#held.bytes + to - from <= this.#need.wholeBytes) {
        this.#held.push(buf, from, to);
        return true;
      }
      if (!this.#over()) return true;
    }
    return this.#through(buf, from, to, false);
  }

  end(): void {
    if (this.#state === OVER) return;
    if (this.#state === HOLDING) {
      const whole = this.#held.take();
      const piece = this.#piece;
      piece.buf = whole;
      piece.from = 0;
      piece.to = whole.length;
      if (!this.#ran(this.#x.chain.requestPiece(this.#x, piece, true, false))) return;
      if (piece.buf !== whole) this.#x.request.bodyLength = CHUNKED;
      const { buf, from, to } = piece;
      const next = this.#start();
      if (to > from) next.data(buf, from, to);
      next.end();
      return;
    }
    this.#through(EMPTY, 0, 0, true);
    if ((this.#state as number) !== OVER) this.#next?.end();
  }

  abort(why: MeshError): void {
    this.#state = OVER;
    this.#next?.abort(why);
  }

  /** Longer than filters take whole; false: refused. */
  #over(): boolean {
    if (this.#need.over === "refuse") {
      this.#state = OVER;
      const body = `The request body is longer than ${this.#need.wholeBytes} bytes\n`;
      replyLocally({ status: 413, headers: [], body }, this.#reply);
      return false;
    }
    this.#tooLong = true;
    this.#pass();
    return true;
  }

  #pass(): void {
    if (this.#need.replaces) this.#x.request.bodyLength = CHUNKED;
    this.#start();
    const held = this.#held.take();
    if (held.length > 0) this.#through(held, 0, held.length, false);
  }

  #start(): Sink {
    this.#state = PASSING;
    const next = this.#inner(this.#x, this.#reply);
    next.wake = () => this.wake?.();
    this.#next = next;
    return next;
  }

  #through(buf: Uint8Array, from: number, to: number, last: boolean): boolean {
    const piece = this.#piece;
    piece.buf = buf;
    piece.from = from;
    piece.to = to;
    const { chain } = this.#x;
    if (!this.#ran(chain.requestPiece(this.#x, piece, last, this.#tooLong))) return true;
    const next = this.#next as Sink;
    next.wake = () => this.wake?.();
    return piece.to > piece.from ? next.data(piece.buf, piece.from, piece.to) : true;
  }

  /** False: a filter answered, or failed. */
  #ran(verdict: Verdict): boolean {
    if (verdict === CONTINUE) return true;
    this.#state = OVER;
    const why = new MeshError("filter", this.#x.filterError);
    this.#next?.abort(why);
    if (this.#x.local !== null && this.#next === null) replyLocally(this.#x.local, this.#reply);
    else if (this.#x.status === 0) this.#reply.fail(why);
    else this.#reply.abort(why);
    return false;
  }
}

class ResponseBody implements Reply {
  readonly #x: Exchange;
  readonly #outer: Reply;
  readonly #need: BodyNeed;
  readonly #held = new Held();
  readonly #piece: BodyPiece = { buf: EMPTY, from: 0, to: 0 };
  request: Sink | null = null;
  #head: ResponseHead | null = null;
  #state = PASSING;
  #isFiltered = false;
  #tooLong = false;

  constructor(x: Exchange, outer: Reply, need: BodyNeed) {
    this.#x = x;
    this.#outer = outer;
    this.#need = need;
  }

  get wake(): (() => void) | null {
    return this.#outer.wake;
  }

  set wake(wake: (() => void) | null) {
    this.#outer.wake = wake;
  }

  informational(head: ResponseHead): void {
    this.#outer.informational(head);
  }

  head(head: ResponseHead): void {
    const { request, local } = this.#x;
    const { status, bodyLength } = head;
    this.#isFiltered = local === null && !head.tunnel && !request.isHead && bodyLength !== 0 &&
      status !== 204 && status !== 304;
    const { wholeBytes, replaces } = this.#need;
    if (this.#isFiltered && wholeBytes > 0) {
      this.#state = HOLDING;
      head.retain();
      this.#head = head;
      if (bodyLength > wholeBytes) this.#over();
      return;
    }
    if (this.#isFiltered && replaces) head.bodyLength = CHUNKED;
    this.#outer.head(head);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (!this.#isFiltered) return this.#outer.data(buf, from, to);
    if (this.#state === OVER) return true;
    if (this.#state === HOLDING) {
      if (this.#held.bytes + to - from <= this.#need.wholeBytes) {
        this.#held.push(buf, from, to);
        return true;
      }
      if (!this.#over()) return true;
    }
    return this.#through(buf, from, to, false);
  }

  end(): void {
    if (!this.#isFiltered) {
      this.#outer.end();
      return;
    }
    if (this.#state === OVER) return;
    if (this.#state === HOLDING) {
      const whole = this.#held.take();
      const piece = this.#piece;
      piece.buf = whole;
      piece.from = 0;
      piece.to = whole.length;
      if (!this.#ran(this.#x.chain.responsePiece(this.#x, piece, true, false))) return;
      const head = this.#head as ResponseHead;
      if (piece.buf !== whole) head.bodyLength = CHUNKED;
      this.#state = PASSING;
      this.#outer.head(head);
      if (piece.to > piece.from) this.#outer.data(piece.buf, piece.from, piece.to);
    } else this.#through(EMPTY, 0, 0, true);
    if ((this.#state as number) !== OVER) this.#outer.end();
  }

  abort(why: MeshError): void {
    const before = this.#state;
    this.#state = OVER;
    if (before === HOLDING) this.#outer.fail(why);
    else if (before === PASSING) this.#outer.abort(why);
  }

  fail(why: MeshError): void {
    if (this.#state !== OVER) this.#outer.fail(why);
  }

  #over(): boolean {
    const head = this.#head as ResponseHead;
    if (this.#need.over === "refuse") {
      this.#stop(
        new MeshError(
          "filter",
          `The response body is longer than the ${this.#need.wholeBytes} bytes that a filter reads`,
        ),
      );
      return false;
    }
    this.#tooLong = true;
    this.#state = PASSING;
    if (this.#need.replaces) head.bodyLength = CHUNKED;
    this.#outer.head(head);
    const held = this.#held.take();
    if (held.length > 0) this.#through(held, 0, held.length, false);
    return true;
  }

  #through(buf: Uint8Array, from: number, to: number, last: boolean): boolean {
    const piece = this.#piece;
    piece.buf = buf;
    piece.from = from;
    piece.to = to;
    const { chain } = this.#x;
    if (!this.#ran(chain.responsePiece(this.#x, piece, last, this.#tooLong))) return true;
    return piece.to > piece.from ? this.#outer.data(piece.buf, piece.from, piece.to) : true;
  }

  #ran(verdict: Verdict): boolean {
    if (verdict === CONTINUE) return true;
    const { local, filterError } = this.#x;
    if (local === null || this.#state !== HOLDING) this.#stop(new MeshError("filter", filterError));
    else {
      this.#state = OVER;
      replyLocally(local, this.#outer);
    }
    return false;
  }

  /** Ends both sides: nothing more of this response is wanted. */
  #stop(why: MeshError): void {
    const headSent = this.#state !== HOLDING;
    this.#state = OVER;
    this.request?.abort(why);
    if (headSent) this.#outer.abort(why);
    else this.#outer.fail(why);
  }
}
