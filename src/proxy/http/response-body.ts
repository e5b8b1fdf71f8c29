// The body of the response that is returned, on its way through filters: piece by piece, or held whole
// within a bound together with its head.

import { MeshError } from "../../core/errors.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import { type BodyNeed, type BodyPiece, CONTINUE, type Verdict } from "../../core/filter.ts";
import type { ResponseHead } from "../../core/head.ts";
import { CHUNKED } from "../http1/codes.ts";
import { Held, HOLDING, NO_BYTES, OVER, PASSING, PIECE_BYTES } from "./held-body.ts";
import { replyLocally } from "./local-reply.ts";

/** The reply that the inner service gets. `request` is its sink, once it is known. */
export class ResponseBody implements Reply {
  readonly #x: Exchange;
  readonly #outer: Reply;
  readonly #need: BodyNeed;
  readonly #held = new Held();
  readonly #piece: BodyPiece = { buf: NO_BYTES, from: 0, to: 0 };
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
    } else this.#through(NO_BYTES, 0, 0, true);
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
    const { chain } = this.#x;
    for (let at = from, ready = true;; at = piece.to) {
      const end = Math.min(to, at + PIECE_BYTES);
      piece.buf = buf;
      piece.from = at;
      piece.to = end;
      if (!this.#ran(chain.responsePiece(this.#x, piece, last, this.#tooLong))) return true;
      if (piece.to > piece.from) ready = this.#outer.data(piece.buf, piece.from, piece.to);
      if (end === to) return ready;
      piece.to = end;
    }
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
