// The time limits that go on after the response's head: of the whole exchange, of the response, and of
// silence. Filters say which hold for a request; here are the timers. Around all attempts; requests
// without limits pay one comparison.

import type { Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import type { ResponseHead } from "../../core/head.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { NOTHING_MORE } from "../http/sinks.ts";

/** Wraps the attempts of a target's requests. */
export function streamLimits(driver: Driver, inner: HttpService): HttpService {
  return (x, reply) => {
    return (x.exchangeLimitMs | x.responseLimitMs | x.idleLimitMs) === 0
      ? inner(x, reply)
      : new Limited(driver, x, reply).begin(x, inner);
  };
}

/** One exchange with limits. Not on the path of those without. */
class Limited implements Reply {
  readonly #driver: Driver;
  readonly #outer: Reply;
  readonly #exchangeMs: number;
  readonly #responseMs: number;
  readonly #idleMs: number;
  readonly #routeName: string;
  readonly #timer: Timer;
  readonly #request: Sink;
  /** When the exchange, and when the response is late. */
  #requestAt = Infinity;
  #responseAt = Infinity;
  #lastMs: number;
  #sink: Sink = NOTHING_MORE;
  #hasHead = false;
  #isTunnel = false;
  #over = false;
  wake: (() => void) | null = null;

  constructor(driver: Driver, x: Exchange, outer: Reply) {
    const { now } = driver;
    this.#driver = driver;
    this.#outer = outer;
    // A time-out of the head stands instead of that of the exchange.
    this.#exchangeMs = x.timeoutMs === 0 ? x.exchangeLimitMs : 0;
    this.#responseMs = x.responseLimitMs;
    this.#idleMs = x.idleLimitMs;
    this.#routeName = x.routeName;
    this.#lastMs = now;
    if (this.#exchangeMs > 0) {
      this.#requestAt = now + this.#exchangeMs;
      x.deadlineMs = this.#requestAt;
    }
    this.#timer = createTimer(() => this.#fire());
    this.#request = {
      wake: null,
      data: (buf, from, to) => {
        this.#lastMs = this.#driver.now;
        this.#sink.wake = this.#request.wake;
        return this.#sink.data(buf, from, to);
      },
      end: () => {
        this.#lastMs = this.#driver.now;
        if (this.#responseMs > 0 && !this.#over) {
          this.#responseAt = this.#lastMs + this.#responseMs;
          this.#arm();
        }
        this.#sink.end();
      },
      abort: (why) => {
        const sink = this.#sink;
        this.#end();
        sink.abort(why);
      },
    };
  }

  begin(x: Exchange, inner: HttpService): Sink {
    this.#outer.wake = () => this.wake?.();
    this.#arm();
    const sink = inner(x, this);
    // It may have been answered at once, and is nobody's then.
    if (!this.#over) this.#sink = sink;
    return this.#request;
  }

  informational(head: ResponseHead): void {
    if (!this.#over) this.#outer.informational(head);
  }

  head(head: ResponseHead): void {
    if (this.#over) return;
    this.#lastMs = this.#driver.now;
    this.#hasHead = true;
    // Raw bytes have no end that a response has.
    if (head.tunnel) this.#unlimited();
    this.#outer.head(head);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#over) return true;
    this.#lastMs = this.#driver.now;
    return this.#outer.data(buf, from, to);
  }

  end(): void {
    if (this.#over) return;
    // In a tunnel it is a half-close, and the other direction goes on.
    if (!this.#isTunnel) this.#end();
    this.#outer.end();
  }

  abort(why: MeshError): void {
    if (this.#over) return;
    this.#end();
    this.#outer.abort(why);
  }

  fail(why: MeshError): void {
    if (this.#over) return;
    this.#end();
    this.#outer.fail(why);
  }

  #arm(): void {
    const idleAt = this.#idleMs > 0 ? this.#lastMs + this.#idleMs : Infinity;
    const at = Math.min(this.#requestAt, this.#responseAt, idleAt);
    if (at < Infinity) this.#driver.timers.arm(this.#timer, at);
  }

  #unlimited(): void {
    this.#isTunnel = true;
    this.#driver.timers.cancel(this.#timer);
  }

  #end(): void {
    this.#over = true;
    if (!this.#isTunnel) this.#sink = NOTHING_MORE;
    this.#driver.timers.cancel(this.#timer);
  }

  /** A time may be over, or it was put off by bytes. */
  #fire(): void {
    if (this.#over) return;
    const { now } = this.#driver;
    const [requestMs, responseMs, idleMs] = [this.#exchangeMs, this.#responseMs, this.#idleMs];
    const what = now >= this.#requestAt
      ? this.#hasHead
        ? `The exchange on route ${this.#routeName} took longer than ${requestMs} ms`
        : `No response on route ${this.#routeName} within ${requestMs} ms`
      : now >= this.#responseAt
      ? `The response on route ${this.#routeName} took longer than ${responseMs} ms`
      : idleMs > 0 && now >= this.#lastMs + idleMs
      ? `Nothing was sent on route ${this.#routeName} for ${idleMs} ms`
      : null;
    if (what === null) {
      this.#arm();
      return;
    }
    const timeout = now >= this.#requestAt
      ? "request"
      : now >= this.#responseAt
      ? "response"
      : "idle";
    const why = new MeshError("response-timeout", what, { timeout });
    const sink = this.#sink;
    this.#end();
    sink.abort(why);
    if (this.#hasHead) this.#outer.abort(why);
    else this.#outer.fail(why);
  }
}
