// A request whose filter asks another service first. It waits here – its body under backpressure – and
// goes on with the filter that asked when the answer is there. When the client goes away, so does the call.

import { MeshError } from "../../core/errors.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import { type CalloutAnswer, type Callouts, PAUSED, type Verdict } from "../../core/filter.ts";
import { BodyBuffer } from "./body-buffer.ts";

/** A sender that was told to stop sends at most one buffer more. */
const MAX_WAITING_BODY_BYTES = 256 * 1024;

/** Where the request goes with the verdict of its filters. */
export type Proceed = (x: Exchange, reply: Reply, verdict: Verdict) => Sink;

/** Waits for `x.callout`. */
export class Paused implements Sink {
  readonly #x: Exchange;
  readonly #reply: Reply;
  readonly #callouts: Callouts | null;
  readonly #proceed: Proceed;
  readonly #body = new BodyBuffer(MAX_WAITING_BODY_BYTES);
  #cancel: (() => void) | null = null;
  #next: Sink | null = null;
  #ended = false;
  #over = false;
  wake: (() => void) | null = null;

  constructor(x: Exchange, reply: Reply, callouts: Callouts | null, proceed: Proceed) {
    this.#x = x;
    this.#reply = reply;
    this.#callouts = callouts;
    this.#proceed = proceed;
  }

  begin(): void {
    const { callout, isCallout } = this.#x;
    if (callout === null) return;
    if (this.#callouts === null || isCallout) {
      const error = isCallout ? "a call-out makes no call-outs" : "this proxy makes no call-outs";
      this.#answered({ status: 0, error, header: () => null, body: new Uint8Array(0) });
      return;
    }
    let answered = false;
    const cancel = this.#callouts.start(callout, (answer) => {
      answered = true;
      this.#cancel = null;
      this.#answered(answer);
    });
    if (!answered) this.#cancel = cancel;
  }

  #answered(answer: CalloutAnswer): void {
    if (this.#over) return;
    const verdict = this.#x.chain.requestAnswered(this.#x, answer);
    if (verdict === PAUSED) {
      this.begin();
      return;
    }
    const next = this.#proceed(this.#x, this.#reply, verdict);
    if (this.#over) return;
    next.wake = () => this.wake?.();
    this.#next = next;
    const ready = this.#body.bytes === 0 || this.#body.replay(next);
    this.#body.clear();
    if (this.#ended) next.end();
    else if (ready) this.wake?.();
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    const next = this.#next;
    if (next !== null) {
      next.wake = () => this.wake?.();
      return next.data(buf, from, to);
    }
    this.#body.push(buf, from, to);
    if (this.#body.overflow && !this.#over) {
      this.#stop();
      this.#reply.fail(new MeshError("overload", "The request body does not wait for its filters"));
    }
    return false;
  }

  end(): void {
    this.#ended = true;
    this.#next?.end();
  }

  abort(why: MeshError): void {
    this.#stop();
    this.#next?.abort(why);
  }

  #stop(): void {
    this.#over = true;
    const cancel = this.#cancel;
    this.#cancel = null;
    cancel?.();
    this.#body.clear();
  }
}
