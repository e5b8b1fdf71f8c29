// Measures what passes on an inbound route: sizes of the pieces of both bodies, and when the request
// ended. Between the route and its filters; wrappers are used again, so that a request makes none.

import type { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import type { ResponseHead } from "../../core/head.ts";
import type { InboundRouteSeries } from "../metrics/inbound-routes.ts";
import { NOTHING_MORE } from "../http/sinks.ts";

/** Wraps the filters of a port's routes. `seriesOf` null: nothing is measured. */
export function measure(
  now: () => number,
  seriesOf: (x: Exchange) => InboundRouteSeries | null,
  free: Measured[],
  inner: HttpService,
): HttpService {
  return (x, reply) => {
    const series = seriesOf(x);
    if (series === null) return inner(x, reply);
    return (free.pop() ?? new Measured(now, free)).begin(x, reply, series, inner);
  };
}

/** One request on its way. Free again when its response is over. */
export class Measured implements Reply {
  readonly #now: () => number;
  readonly #free: Measured[];
  readonly #sink: Sink;
  #x: Exchange | null = null;
  #series: InboundRouteSeries | null = null;
  #outer: Reply | null = null;
  #inner: Sink = NOTHING_MORE;
  /** Grows with each use: an answer may come, and the next request begin, within a call. */
  #use = 0;
  /** Both directions carry raw bytes, which are no body; such a wrapper is not used again. */
  #tunnel = false;

  constructor(now: () => number, free: Measured[]) {
    this.#now = now;
    this.#free = free;
    // deno-lint-ignore no-this-alias -- the two directions are two objects
    const self = this;
    this.#sink = {
      get wake() {
        return self.#inner.wake;
      },
      set wake(wake) {
        if (self.#inner !== NOTHING_MORE) self.#inner.wake = wake;
      },
      data(buf, from, to) {
        if (!self.#tunnel) self.#series?.requestFrame(to - from);
        return self.#inner.data(buf, from, to);
      },
      end() {
        if (self.#x !== null && !self.#tunnel) self.#x.requestEndedMs = self.#now();
        self.#inner.end();
      },
      abort(why) {
        const inner = self.#inner;
        self.#over();
        inner.abort(why);
      },
    };
  }

  begin(x: Exchange, reply: Reply, series: InboundRouteSeries, inner: HttpService): Sink {
    this.#x = x;
    this.#outer = reply;
    this.#series = series;
    this.#inner = NOTHING_MORE;
    this.#tunnel = false;
    const use = ++this.#use;
    const sink = inner(x, this);
    if (this.#use !== use || this.#x === null) return sink;
    this.#inner = sink;
    return this.#sink;
  }

  get wake(): (() => void) | null {
    return this.#outer?.wake ?? null;
  }

  set wake(wake: (() => void) | null) {
    if (this.#outer !== null) this.#outer.wake = wake;
  }

  informational(head: ResponseHead): void {
    this.#outer?.informational(head);
  }

  head(head: ResponseHead): void {
    this.#tunnel = head.tunnel;
    const x = this.#x;
    if (x !== null) {
      x.respondedMs = this.#now();
      x.responseBytes = Math.max(-1, head.bodyLength);
    }
    this.#outer?.head(head);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#outer === null) return true;
    if (!this.#tunnel) this.#series?.responseFrame(to - from);
    return this.#outer.data(buf, from, to);
  }

  end(): void {
    const outer = this.#outer;
    if (!this.#tunnel) this.#over();
    outer?.end();
  }

  abort(why: MeshError): void {
    const outer = this.#outer;
    this.#over();
    outer?.abort(why);
  }

  fail(why: MeshError): void {
    const outer = this.#outer;
    this.#over();
    outer?.fail(why);
  }

  /** The response is over; what the client does to its request then is told to nobody. */
  #over(): void {
    if (this.#x === null) return;
    this.#x = null;
    this.#outer = null;
    this.#series = null;
    if (!this.#tunnel) this.#free.push(this);
  }
}
