// Runs a request's chain: request filters once, before retries; `end` exactly once. Response filters
// run where the response that is returned is known (outbound: attempts, inbound: here).

import { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import {
  type Callouts,
  CONTINUE,
  HOOK_END,
  HOOK_REQUEST,
  HOOK_REQUEST_BODY,
  HOOK_RESPONSE,
  HOOK_RESPONSE_BODY,
  HOOK_TRAILERS,
  PAUSED,
} from "../../core/filter.ts";
import type { ResponseHead } from "../../core/head.ts";
import { filterBodies } from "./body-filters.ts";
import { asClientSpeaks } from "./grpc-reply.ts";
import { replyLocally } from "./local-reply.ts";
import { Paused, type Proceed } from "./paused.ts";
import { NOTHING_MORE } from "./sinks.ts";

const HOOK_BODIES = HOOK_REQUEST_BODY | HOOK_RESPONSE_BODY;

/** Request filters. The route has set `x.chain`. */
export function requestFilters(callouts: Callouts | null, inner: HttpService): HttpService {
  const proceed: Proceed = (x, reply, verdict) => {
    if (verdict === CONTINUE) {
      const hasBodies = (x.chain.hooks & HOOK_BODIES) !== 0;
      return hasBodies ? filterBodies(x, reply, inner) : inner(x, reply);
    }
    if (x.local !== null) replyLocally(asClientSpeaks(x, x.local), reply);
    else reply.fail(new MeshError("filter", x.filterError));
    return NOTHING_MORE;
  };
  return (x, reply) => {
    const { chain } = x;
    if (chain.hooks === 0) return inner(x, reply);
    x.filtered = true;
    const verdict = (chain.hooks & HOOK_REQUEST) === 0 ? CONTINUE : chain.requestHead(x);
    if (verdict !== PAUSED) return proceed(x, reply, verdict);
    const paused = new Paused(x, reply, callouts, proceed);
    paused.begin();
    return paused;
  };
}

/** The chain's `end`; called by the stack's first layer when the exchange is over. */
export function endFilters(x: Exchange, nowMs: number): void {
  if (!x.filtered || (x.chain.hooks & HOOK_END) === 0) return;
  x.filtered = false;
  x.chain.end(x, x.status, nowMs - x.startedMs);
}

/** The chain's hook for the trailers of the response that is returned. */
export function filterTrailers(x: Exchange): void {
  if (x.trailers !== null && (x.chain.hooks & HOOK_TRAILERS) !== 0) {
    x.chain.responseTrailers(x, x.trailers);
  }
}

/** Response filters for a path without retries. */
export function responseFilters(inner: HttpService): HttpService {
  return (x, reply) => {
    if ((x.chain.hooks & (HOOK_RESPONSE | HOOK_TRAILERS)) === 0) return inner(x, reply);
    const filtered = new FilteredReply(x, reply);
    const sink = inner(x, filtered);
    filtered.request = sink;
    return sink;
  };
}

class FilteredReply implements Reply {
  readonly #x: Exchange;
  readonly #outer: Reply;
  request: Sink | null = null;
  #replaced = false;

  constructor(x: Exchange, outer: Reply) {
    this.#x = x;
    this.#outer = outer;
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
    const x = this.#x;
    const { chain } = x;
    if ((chain.hooks & HOOK_RESPONSE) === 0 || chain.responseHead(x, head) === CONTINUE) {
      this.#outer.head(head);
      return;
    }
    this.#replaced = true;
    if (x.local !== null) replyLocally(x.local, this.#outer);
    else this.#outer.fail(new MeshError("filter", x.filterError));
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    return this.#replaced ? true : this.#outer.data(buf, from, to);
  }

  end(): void {
    if (this.#replaced) return;
    filterTrailers(this.#x);
    this.#outer.end();
  }

  abort(why: MeshError): void {
    if (!this.#replaced) this.#outer.abort(why);
  }

  fail(why: MeshError): void {
    if (!this.#replaced) this.#outer.fail(why);
  }
}
