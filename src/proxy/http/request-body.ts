// A request's body on its way through filters, once and before any attempt: piece by piece, or held
// whole within a bound while nothing is sent on.

import { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import { type BodyNeed, type BodyPiece, CONTINUE, type Verdict } from "../../core/filter.ts";
import { ResponseHead } from "../../core/head.ts";
import { CHUNKED } from "../http1/codes.ts";
import { Held, HOLDING, NO_BYTES, OVER, PASSING, PIECE_BYTES } from "./held-body.ts";
import { asClientSpeaks } from "./grpc-reply.ts";
import { replyLocally } from "./local-reply.ts";

/** The sink of the client's body; `begin` comes first. */
export class RequestBody implements Sink {
  readonly #x: Exchange;
  readonly #reply: Reply;
  readonly #need: BodyNeed;
  readonly #inner: HttpService;
  readonly #held = new Held();
  readonly #piece: BodyPiece = { buf: NO_BYTES, from: 0, to: 0 };
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
    this.#through(NO_BYTES, 0, 0, true);
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
    const { chain } = this.#x;
    const next = this.#next as Sink;
    next.wake = () => this.wake?.();
    for (let at = from, ready = true;; at = piece.to) {
      const end = Math.min(to, at + PIECE_BYTES);
      piece.buf = buf;
      piece.from = at;
      piece.to = end;
      if (!this.#ran(chain.requestPiece(this.#x, piece, last, this.#tooLong))) return true;
      if (piece.to > piece.from) ready = next.data(piece.buf, piece.from, piece.to);
      if (end === to) return ready;
      piece.to = end;
    }
  }

  /** False: a filter answered, or failed. */
  #ran(verdict: Verdict): boolean {
    if (verdict === CONTINUE) return true;
    this.#state = OVER;
    const why = new MeshError("filter", this.#x.filterError);
    this.#next?.abort(why);
    const { local } = this.#x;
    if (local !== null && this.#next === null) {
      replyLocally(asClientSpeaks(this.#x, local), this.#reply);
    } else if (this.#x.status === 0) this.#reply.fail(why);
    else this.#reply.abort(why);
    return false;
  }
}
