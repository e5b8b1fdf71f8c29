// Requests to a target that cannot serve yet wait here: for the first answer of the control plane, or
// for an endpoint. Bounded in number and time; past the time the target fails fast until it is ready.

import type { Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import { createTimer } from "../../core/timers.ts";
import { BodyBuffer } from "../http/body-buffer.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { refusalOf } from "./byte-route.ts";
import type { Target, Waiting } from "./target.ts";

const MAX_WAITING_BODY_BYTES = 256 * 1024;

export interface AwaitOptions {
  readonly driver: Driver;
  readonly failfastMs: number;
  readonly queueCapacity: number;
}

/** Lets requests through to `inner` while the target is ready; otherwise they wait. */
export function awaitReady(target: Target, o: AwaitOptions, inner: HttpService): HttpService {
  return (x, reply) => {
    if (target.endpoints.length > 0) return inner(x, reply);
    const why = target.unready();
    if (why === null) return inner(x, reply);
    const refusal = x.request.isConnect && target.snapshot !== null
      ? refusalOf(target.snapshot, x.conn.serverName)
      : null;
    if (refusal !== null) {
      reply.fail(refusal);
      return NOTHING_MORE;
    }
    if (why.kind === "no-service" || target.failfast) {
      reply.fail(why);
      return NOTHING_MORE;
    }
    if (target.waiting.size >= o.queueCapacity) {
      reply.fail(
        new MeshError("overload", `${target.waiting.size} requests wait already: ${why.message}`),
      );
      return NOTHING_MORE;
    }
    return park(target, o, inner, x, reply);
  };
}

function park(
  target: Target,
  o: AwaitOptions,
  inner: HttpService,
  x: Exchange,
  reply: Reply,
): Sink {
  const parkedMs = o.driver.now;
  const body = new BodyBuffer(MAX_WAITING_BODY_BYTES);
  let ended = false;
  let next: Sink | null = null;
  const leave = () => {
    target.waiting.delete(waiting);
    o.driver.timers.cancel(timer);
  };
  const waiting: Waiting = {
    retry() {
      const why = target.unready();
      if (why !== null && why.kind !== "no-service") return;
      leave();
      x.waitedMs = o.driver.now - parkedMs;
      if (why !== null) {
        reply.fail(why);
        return;
      }
      next = inner(x, reply);
      next.wake = sink.wake;
      const ready = body.bytes === 0 || body.replay(next);
      body.clear();
      if (ended) next.end();
      else if (ready) sink.wake?.();
    },
  };
  const timer = createTimer(() => {
    leave();
    target.failfast = true;
    const why = target.unready() ?? new MeshError("failfast", "No endpoint was ready in time");
    target.gaveUp(x.request.isConnect ? "tcp" : "http", o.failfastMs);
    reply.fail(new MeshError(why.kind, `${why.message} (waited ${o.failfastMs} ms)`));
  });
  const sink: Sink = {
    wake: null,
    data(buf, from, to) {
      if (next !== null) {
        next.wake = sink.wake;
        return next.data(buf, from, to);
      }
      body.push(buf, from, to);
      return false; // until it is known who reads it
    },
    end() {
      ended = true;
      next?.end();
    },
    abort(why) {
      leave();
      next?.abort(why);
    },
  };
  target.waiting.add(waiting);
  o.driver.timers.arm(timer, o.driver.now + o.failfastMs);
  return sink;
}
