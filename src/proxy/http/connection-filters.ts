// Filters of opaque connections: asked when one opens, told when it has ended and what it carried.
// Outbound a connection is a CONNECT, inbound what the transport header calls opaque.

import type { ConnInfo, HttpService, Reply, Sink } from "../../core/exchange.ts";
import { Exchange } from "../../core/exchange.ts";
import { MeshError } from "../../core/errors.ts";
import {
  CONTINUE,
  type FilterChain,
  HOOK_CONNECTION,
  HOOK_CONNECTION_END,
  REPLY,
} from "../../core/filter.ts";
import type { Meter } from "../../core/driver.ts";
import { NOTHING_MORE } from "./sinks.ts";

const HOOKS = HOOK_CONNECTION | HOOK_CONNECTION_END;

/** A connection that a chain let through. */
export class FilteredConnection {
  readonly #chain: FilterChain;
  readonly #x: Exchange;
  readonly #startedMs: number;
  bytesIn = 0;
  bytesOut = 0;
  #over = false;

  private constructor(chain: FilterChain, x: Exchange, nowMs: number) {
    this.#chain = chain;
    this.#x = x;
    this.#startedMs = nowMs;
  }

  /** Null: no filter cares. An error: the connection is denied. */
  static open(
    chain: FilterChain,
    x: Exchange,
    nowMs: number,
  ): FilteredConnection | MeshError | null {
    if ((chain.hooks & HOOKS) === 0) return null;
    const verdict = chain.connectionOpen(x);
    if (verdict === CONTINUE) return new FilteredConnection(chain, x, nowMs);
    return new MeshError(verdict === REPLY ? "unauthorized" : "filter", x.filterError);
  }

  /** As `open`, for a connection without a request. */
  static accept(chain: FilterChain, conn: ConnInfo, nowMs: number) {
    if ((chain.hooks & HOOKS) === 0) return null;
    const x = new Exchange(conn);
    x.begin(nowMs);
    return FilteredConnection.open(chain, x, nowMs);
  }

  /** Counts beside `meter`, for the client's channel. */
  meter(meter: Meter): Meter {
    return {
      read: (bytes) => {
        this.bytesIn += bytes;
        meter.read(bytes);
      },
      wrote: (bytes) => {
        this.bytesOut += bytes;
        meter.wrote(bytes);
      },
      lost: (errno) => meter.lost?.(errno),
    };
  }

  /** Idempotent. */
  end(nowMs: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#chain.connectionEnd(this.#x, this.bytesIn, this.bytesOut, nowMs - this.#startedMs);
  }
}

/** CONNECT: `inner` makes the tunnel. */
export function connectionFilters(
  chain: () => FilterChain,
  now: () => number,
  inner: HttpService,
): HttpService {
  return (x, reply) => {
    const filtered = FilteredConnection.open(chain(), x, now());
    if (filtered === null) return inner(x, reply);
    if (filtered instanceof MeshError) {
      reply.fail(filtered);
      return NOTHING_MORE;
    }
    const before = x.onEnd;
    x.onEnd = (ended) => {
      filtered.end(now());
      before?.(ended);
    };
    return countIn(filtered, inner(x, countOut(filtered, reply)));
  };
}

function countIn(filtered: FilteredConnection, to: Sink): Sink {
  return {
    get wake() {
      return to.wake;
    },
    set wake(wake) {
      to.wake = wake;
    },
    data(buf, from, end) {
      filtered.bytesIn += end - from;
      return to.data(buf, from, end);
    },
    end: () => to.end(),
    abort: (why) => to.abort(why),
  };
}

function countOut(filtered: FilteredConnection, to: Reply): Reply {
  return {
    get wake() {
      return to.wake;
    },
    set wake(wake) {
      to.wake = wake;
    },
    data(buf, from, end) {
      filtered.bytesOut += end - from;
      return to.data(buf, from, end);
    },
    end: () => to.end(),
    abort: (why) => to.abort(why),
    informational: (head) => to.informational(head),
    head: (head) => to.head(head),
    fail: (why) => to.fail(why),
  };
}
