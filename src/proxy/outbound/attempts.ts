// The attempts of one request: its time-out, retries that its filters decide and its budget
// allows, and the response filters for the attempt that is returned. The request's own filters ran before.

import type { Driver } from "../../core/driver.ts";
import { MeshError, RETRYABLE } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import {
  CONTINUE,
  HOOK_ATTEMPT,
  HOOK_OUTCOME,
  HOOK_RESPONSE,
  type Outcome,
  OUTCOME_TIMEOUT,
} from "../../core/filter.ts";
import type { ResponseHead } from "../../core/head.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { isFailure } from "../../model/route.ts";
import { BodyBuffer } from "../http/body-buffer.ts";
import { isGrpcFailure } from "../http/grpc.ts";
import { filterTrailers } from "../http/filters.ts";
import { replyLocally } from "../http/local-reply.ts";
import type { BackendSeries } from "../metrics/backends.ts";
import { type StreamError, streamError } from "../metrics/errors.ts";
import { countLimit, endsClient, outcomeBit, settle } from "./attempt-facts.ts";
import { peekGrpc } from "./peek-grpc.ts";
import { streamLimits } from "./stream-limits.ts";
import type { RouteState, Target } from "./target.ts";

/** A failed response up to this size is read to its end before the retry, so that its connection lives on. */
const SWALLOW_BYTES = 64 * 1024;

/** Wraps `inner`, which makes one attempt per call. */
export function attempts(
  target: Target,
  driver: Driver,
  replayMaxBytes: number,
  inner: HttpService,
): HttpService {
  const free: Attempts[] = [];
  // How a gRPC call ended must be known before its response is passed on.
  const one = peekGrpc(driver, inner);
  return streamLimits(driver, (x, reply) => {
    const a = free.pop() ?? new Attempts(target, driver, replayMaxBytes, one, free);
    return a.start(x, reply);
  });
}

/** Nothing is under way. */
const IDLE = 0;
/** An attempt is out. */
const TRYING = 1;
/** A failed response is read to its end. */
const SWALLOWING = 2;
/** Waiting to retry. */
const WAITING = 3;
/** The response goes to the client. */
const RETURNING = 4;

/** Used again for another request once both sides are over. */
class Attempts implements Reply {
  readonly #target: Target;
  readonly #driver: Driver;
  readonly #inner: HttpService;
  readonly #free: Attempts[];
  readonly #replay: BodyBuffer;
  readonly #outcome: Outcome = { status: 0, error: 0, elapsedMs: 0 };
  readonly #deadline: Timer;
  readonly #backoff: Timer;
  /** A filter's time-out for one attempt. */
  readonly #limit: Timer;
  readonly #request: Sink;
  #x: Exchange | null = null;
  #outer: Reply | null = null;
  #sink: Sink | null = null;
  #route: RouteState | null = null;
  #state = IDLE;
  #mayRetry = false;
  /** Both directions carry raw bytes: `end` is a half-close, and this object is not used again. */
  #tunnel = false;
  #requestEnded = false;
  #swallowed = 0;
  #retryAfterMs = 0;
  #startedMs = 0;
  /** Of the attempt's response; 0: there is none. */
  #status = 0;
  wake: (() => void) | null = null;

  constructor(
    target: Target,
    driver: Driver,
    replayMaxBytes: number,
    inner: HttpService,
    free: Attempts[],
  ) {
    this.#target = target;
    this.#driver = driver;
    this.#inner = inner;
    this.#free = free;
    this.#replay = new BodyBuffer(replayMaxBytes);
    this.#deadline = createTimer(() => this.#timedOut());
    this.#backoff = createTimer(() => this.#try());
    this.#limit = createTimer(() => this.#attemptTimedOut());
    this.#request = {
      wake: null,
      data: (buf, from, to) => this.#data(buf, from, to),
      end: () => this.#end(),
      abort: (why) => this.#abort(why),
    };
  }

  start(x: Exchange, reply: Reply): Sink {
    const route = x.route as RouteState;
    this.#x = x;
    this.#outer = reply;
    this.#route = route;
    this.#requestEnded = false;
    this.#tunnel = false;
    this.#mayRetry = (x.chain.hooks & HOOK_OUTCOME) !== 0;
    reply.wake = this.#wakeResponse;
    this.#target.budget?.deposit(this.#driver.now);
    // What the filters said of it; the route's own time-outs are said by one of them.
    if (x.timeoutMs > 0) {
      x.deadlineMs = this.#driver.now + x.timeoutMs;
      this.#driver.timers.arm(this.#deadline, x.deadlineMs);
    }
    this.#try();
    return this.#request;
  }

  readonly #wakeResponse = () => this.wake?.();

  #try(): void {
    const x = this.#x;
    if (x === null) return;
    if (x.attempt > 0) this.#countRetry(this.#replay.overflow ? "body" : "");
    if (this.#replay.overflow && x.attempt > 0) {
      const outer = this.#outer;
      this.#over();
      outer?.fail(
        new MeshError("upstream-closed", "The request body grew too long to be sent again"),
      );
      return;
    }
    this.#state = TRYING;
    this.#startedMs = this.#driver.now;
    this.#route?.series.attempt();
    this.wake = null;
    this.#sink = null;
    this.#status = 0;
    x.grpcStatus = -1;
    if ((x.chain.hooks & HOOK_ATTEMPT) !== 0) x.chain.attemptStart(x);
    if (x.attemptTimeoutMs > 0) {
      this.#driver.timers.arm(this.#limit, this.#driver.now + x.attemptTimeoutMs);
    }
    const sink = this.#inner(x, this);
    // It may have failed at once, and even been answered.
    if (this.#x !== x || (this.#state !== TRYING && this.#state !== RETURNING)) return;
    this.#sink = sink;
    sink.wake = this.#request.wake;
    if (x.attempt > 0) this.#replay.replay(sink);
    if (this.#requestEnded) sink.end();
  }

  #data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#mayRetry && this.#state !== RETURNING) this.#replay.push(buf, from, to);
    if (!this.#tunnel) this.#route?.policy?.requestFrame(to - from);
    const sink = this.#sink;
    if (sink === null) return !this.#replay.overflow;
    sink.wake = this.#request.wake;
    return sink.data(buf, from, to);
  }

  #end(): void {
    this.#requestEnded = true;
    if (this.#x !== null) this.#x.requestEndedMs = this.#driver.now;
    this.#sink?.end();
  }

  #abort(why: MeshError): void {
    const sink = this.#sink;
    this.#settle(streamError(why));
    this.#gaveUp("client_gone");
    this.#over();
    sink?.abort(why);
  }

  informational(head: ResponseHead): void {
    if (this.#state === TRYING) this.#outer?.informational(head);
  }

  head(head: ResponseHead): void {
    const x = this.#x as Exchange;
    const route = this.#route as RouteState;
    const { status } = head;
    this.#status = status;
    if (x.attemptTimeoutMs > 0) this.#driver.timers.cancel(this.#limit);
    const failed = isFailure(status, route.route.responseClasses) || isGrpcFailure(x.grpcStatus);
    route.series.attempted(status, failed);
    if (this.#mayRetry && !head.tunnel && this.#decide(status, 0)) {
      if (head.bodyLength >= 0 && head.bodyLength <= SWALLOW_BYTES) {
        this.#state = SWALLOWING;
        this.#swallowed = 0;
      } else {
        const sink = this.#sink;
        this.#sink = null;
        this.#settle("");
        sink?.abort(new MeshError("client-gone", "the attempt is retried"));
        this.#wait();
      }
      return;
    }
    this.#driver.timers.cancel(this.#deadline);
    this.#state = RETURNING;
    this.#tunnel = head.tunnel;
    if (head.tunnel) this.#settle("");
    if (x.attempt > 0 && !failed) route.policy?.retry("successes");
    if (!this.#requestEnded) this.#replay.clear();
    const outer = this.#outer as Reply;
    if (endsClient(head)) x.endsClient = true;
    if ((x.chain.hooks & HOOK_RESPONSE) !== 0) {
      const verdict = x.chain.responseHead(x, head);
      if (verdict !== CONTINUE) {
        const sink = this.#sink;
        const local = x.local;
        this.#settle("");
        this.#over();
        sink?.abort(new MeshError("client-gone", "a filter replaced the response"));
        if (local !== null) replyLocally(local, outer);
        else outer.fail(new MeshError("filter", x.filterError));
        return;
      }
    }
    x.answered = true;
    outer.head(head);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (!this.#tunnel) (this.#x?.backend as BackendSeries | null)?.responseFrame(to - from);
    if (this.#state === RETURNING) return (this.#outer as Reply).data(buf, from, to);
    this.#swallowed += to - from;
    return true;
  }

  end(): void {
    this.#settle("");
    if (this.#state === SWALLOWING) {
      this.#sink = null;
      this.#wait();
      return;
    }
    const outer = this.#outer;
    if (this.#tunnel) {
      outer?.end();
      return;
    }
    if (this.#x !== null) filterTrailers(this.#x);
    this.#over();
    outer?.end();
  }

  abort(why: MeshError): void {
    this.#settle(streamError(why));
    if (this.#state === SWALLOWING) {
      this.#sink = null;
      this.#wait();
      return;
    }
    const outer = this.#outer;
    this.#over();
    outer?.abort(why);
  }

  fail(why: MeshError): void {
    this.#driver.timers.cancel(this.#limit);
    this.#sink = null;
    this.#settle(streamError(why));
    this.#route?.series.attempted(0, true);
    if (RETRYABLE[why.kind] && this.#mayRetry && this.#decide(0, outcomeBit(why.kind))) {
      this.#wait();
      return;
    }
    const outer = this.#outer;
    this.#over();
    outer?.fail(why);
  }

  /** Asks the filters, then what the host knows: can the body be sent again, is there budget and time? */
  #decide(status: number, error: number): boolean {
    const x = this.#x as Exchange;
    const outcome = this.#outcome;
    outcome.status = status;
    outcome.error = error;
    outcome.elapsedMs = this.#driver.now - this.#startedMs;
    const afterMs = x.chain.attemptOutcome(x, outcome);
    if (afterMs < 0) {
      countLimit(x, this.#route as RouteState, status);
      return false;
    }
    const { now } = this.#driver;
    const skipped = this.#replay.overflow
      ? "body"
      : now + afterMs >= x.deadlineMs
      ? "timeout"
      : this.#target.budget?.withdraw(now) === false
      ? "no_budget"
      : "";
    // One that is made is counted when it is: until then it may still be given up.
    if (skipped !== "") this.#countRetry(skipped);
    this.#retryAfterMs = afterMs;
    return skipped === "";
  }

  /** A retry that was decided is not made any more. */
  #gaveUp(why: string): void {
    if (this.#state === WAITING || this.#state === SWALLOWING) this.#countRetry(why);
  }

  #countRetry(skipped: string): void {
    this.#route?.series.retry(skipped);
    this.#route?.policy?.retry(skipped === "" ? "requests" : "overflow");
  }

  #settle(error: StreamError): void {
    settle(this.#x, this.#status, error, this.#driver.now);
  }

  #wait(): void {
    const x = this.#x as Exchange;
    x.attempt++;
    this.#state = WAITING;
    if (this.#retryAfterMs <= 0) this.#try();
    else this.#driver.timers.arm(this.#backoff, this.#driver.now + this.#retryAfterMs);
  }

  #timedOut(): void {
    const route = this.#route;
    if (this.#x === null || route === null || this.#state === RETURNING) return;
    const why = new MeshError(
      "head-timeout",
      `No response on route ${route.route.name} within ${this.#x.timeoutMs} ms`,
    );
    this.#settle(streamError(why));
    this.#gaveUp("timeout");
    if (this.#state === TRYING) {
      route.series.attempted(0, true);
      // The filters hear of it, but nothing is left of the request's time.
      if (this.#mayRetry) {
        this.#outcome.status = 0;
        this.#outcome.error = OUTCOME_TIMEOUT;
        this.#outcome.elapsedMs = this.#driver.now - this.#startedMs;
        if (this.#x.chain.attemptOutcome(this.#x, this.#outcome) >= 0) {
          this.#countRetry("timeout");
        }
      }
    }
    const sink = this.#sink;
    const outer = this.#outer;
    this.#over();
    sink?.abort(why);
    outer?.fail(why);
  }

  /** The attempt is over, the request need not be. */
  #attemptTimedOut(): void {
    const x = this.#x;
    const route = this.#route;
    if (x === null || route === null || this.#state !== TRYING) return;
    const why = new MeshError(
      "response-timeout",
      `No response to attempt ${x.attempt} on route ${route.route.name} within ${x.attemptTimeoutMs} ms`,
      { timeout: "headers" },
    );
    this.#settle(streamError(why));
    route.series.attempted(0, true);
    const sink = this.#sink;
    this.#sink = null;
    const retries = this.#mayRetry && this.#decide(0, OUTCOME_TIMEOUT);
    const outer = this.#outer;
    if (!retries) this.#over();
    sink?.abort(why);
    if (retries) this.#wait();
    else outer?.fail(why);
  }

  #over(): void {
    if (this.#x === null) return;
    this.#x = null;
    this.#outer = null;
    this.#sink = null;
    this.#route = null;
    this.#state = IDLE;
    this.wake = null;
    this.#request.wake = null;
    this.#replay.clear();
    this.#driver.timers.cancel(this.#deadline);
    this.#driver.timers.cancel(this.#backoff);
    this.#driver.timers.cancel(this.#limit);
    this.#free.push(this);
  }
}
