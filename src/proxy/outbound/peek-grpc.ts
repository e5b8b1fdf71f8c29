// How a gRPC call ended is said by its trailers, after the response that a retry would have to take
// back. Holds a short response to the end, or for a short while, so that the attempt's outcome knows the
// code. Between the attempts and the balancer; only where a filter decides on outcomes.

import type { Driver } from "../../core/driver.ts";
import type { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply } from "../../core/exchange.ts";
import { HOOK_OUTCOME } from "../../core/filter.ts";
import type { ResponseHead } from "../../core/head.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { BodyBuffer } from "../http/body-buffer.ts";
import { isGrpc, isGrpcFailure } from "../http/grpc.ts";
import type { RouteState } from "./target.ts";

/** A response over this is no longer held: it is what the client gets. */
const HOLD_BYTES = 16 * 1024;
/** A stream of messages must not wait for its end. A unary response is whole in one read. */
const HOLD_MS = 20;

/** Wraps `inner`, which makes one attempt per call. */
export function peekGrpc(driver: Driver, inner: HttpService): HttpService {
  return (x, reply) => {
    const { chain, request } = x;
    if ((chain.hooks & HOOK_OUTCOME) === 0 || request.major !== 2 || !isGrpc(request)) {
      return inner(x, reply);
    }
    const held = new HeldResponse(driver, x, reply);
    const to = inner(x, held);
    // The request passes as it is; only that nobody waits for the response any more must be heard.
    return {
      get wake() {
        return to.wake;
      },
      set wake(wake) {
        to.wake = wake;
      },
      data: (buf, from, end) => to.data(buf, from, end),
      end: () => to.end(),
      abort(why) {
        held.drop();
        to.abort(why);
      },
    };
  };
}

/** Nothing is known of the response, or its head is held. */
const HOLDING = 0;
/** What comes goes on. */
const PASSING = 1;
/** Nobody wants the rest. */
const OVER = 2;

class HeldResponse implements Reply {
  readonly #driver: Driver;
  readonly #x: Exchange;
  readonly #outer: Reply;
  readonly #attempt: number;
  readonly #startedMs: number;
  readonly #body = new BodyBuffer(HOLD_BYTES);
  readonly #timer: Timer;
  #head: ResponseHead | null = null;
  #state = HOLDING;
  /** Passed on before its code was known. */
  #isEarly = false;

  constructor(driver: Driver, x: Exchange, outer: Reply) {
    this.#driver = driver;
    this.#x = x;
    this.#outer = outer;
    this.#attempt = x.attempt;
    this.#startedMs = driver.now;
    this.#timer = createTimer(() => {
      this.#isEarly = true;
      if (this.#release()) this.#outer.wake?.();
    });
  }

  get wake(): (() => void) | null {
    return this.#outer.wake;
  }

  set wake(wake: (() => void) | null) {
    this.#outer.wake = wake;
  }

  informational(head: ResponseHead): void {
    if (this.#state !== OVER) this.#outer.informational(head);
  }

  head(head: ResponseHead): void {
    if (this.#state === OVER) return;
    // A head that ends the response says the code itself; what is no gRPC has none.
    if (head.bodyLength === 0 || head.status !== 200 || !isGrpc(head)) {
      this.#state = PASSING;
      this.#outer.head(head);
      return;
    }
    head.retain();
    this.#head = head;
    this.#driver.timers.arm(this.#timer, this.#driver.now + HOLD_MS);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#state === OVER) return true;
    if (this.#state === PASSING) return this.#outer.data(buf, from, to);
    if (this.#body.bytes + to - from <= HOLD_BYTES) {
      this.#body.push(buf, from, to);
      return true;
    }
    this.#isEarly = true;
    this.#release();
    return (this.#state as number) === PASSING ? this.#outer.data(buf, from, to) : true;
  }

  end(): void {
    if (this.#isEarly && this.#state === PASSING) this.#countLate();
    this.#release();
    if ((this.#state as number) === PASSING) this.#outer.end();
  }

  abort(why: MeshError): void {
    if (this.#state === OVER) return;
    const wasHeld = this.#state === HOLDING;
    this.drop();
    // Nothing of it was passed on: as if it had not begun.
    if (wasHeld) this.#outer.fail(why);
    else this.#outer.abort(why);
  }

  fail(why: MeshError): void {
    if (this.#state === OVER) return;
    this.drop();
    this.#outer.fail(why);
  }

  /** Nobody waits any more. */
  drop(): void {
    this.#state = OVER;
    this.#driver.timers.cancel(this.#timer);
    this.#body.clear();
  }

  /** A failure that is told too late to be taken back: a retry that a filter wants is not made. */
  #countLate(): void {
    const x = this.#x;
    if (!isGrpcFailure(x.grpcStatus)) return;
    const elapsedMs = this.#driver.now - this.#startedMs;
    if (x.chain.attemptOutcome(x, { status: 200, error: 0, elapsedMs }) < 0) return;
    const route = x.route as RouteState | null;
    route?.series.retry("response");
    route?.policy?.retry("overflow");
  }

  /** Passes on what was held. True: it was, and more may come at once. */
  #release(): boolean {
    const head = this.#head;
    if (this.#state !== HOLDING || head === null) return true;
    this.#head = null;
    this.#state = PASSING;
    this.#driver.timers.cancel(this.#timer);
    this.#outer.head(head);
    // It may have been taken for a failure, and another attempt be under way.
    if (this.#x.attempt !== this.#attempt) this.drop();
    if ((this.#state as number) === OVER) return false;
    const ready = this.#body.bytes === 0 || this.#body.replay(this.#outer);
    this.#body.clear();
    return ready;
  }
}
