// Host functions for bodies, and for what a filter asks other services.

import { latin1 } from "../../src/core/intern.ts";
import { LIMITS } from "../abi.ts";
import { charge, type Guard } from "./guard.ts";
import { whyNotWritten } from "./manifest.ts";
import type { FilterPlan } from "./plan.ts";
import { PHASE_REQUEST, type Situation } from "./situation.ts";
import { HostTrap } from "./trap.ts";

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;

/** `body_…`, `callout_…`. */
export function bodyFunctions(plan: FilterPlan, at: Situation, guard: Guard) {
  const { during, exchange, headerValue, memoryAt, pathOf, textOf, theAnswer } = guard;
  const { thePiece, write } = guard;
  return {
    body_read: (to: number, from: number, count: number) => {
      const piece = thePiece();
      const first = piece.from + (from >>> 0);
      const bytes = Math.max(0, Math.min(count >>> 0, piece.to - first));
      if (bytes > 0) memoryAt(to, bytes).set(piece.buf.subarray(first, first + bytes));
      return bytes;
    },
    body_write: (from: number, count: number) => {
      const bytes = count >>> 0;
      if (bytes > 0) write(memoryAt(from, bytes).slice());
    },
    body_write_text: (value: unknown) => {
      const text = textOf(value, "a text to write");
      write(Uint8Array.from(text, (c) => c.charCodeAt(0)));
    },
    callout_add_header: (name: unknown, value: unknown) => {
      if (at.calloutHeaders.length >= LIMITS.calloutHeaders) {
        throw new HostTrap(`more than ${LIMITS.calloutHeaders} headers of one call-out`);
      }
      const known = textOf(name, "a header's name");
      if (!TOKEN.test(known)) throw new HostTrap("a call-out's header has no valid name");
      const why = whyNotWritten(known.toLowerCase());
      if (why !== null) throw new HostTrap(why);
      at.calloutHeaders.push([known.toLowerCase(), headerValue(value)]);
    },
    callout_start: (
      target: number,
      method: unknown,
      path: unknown,
      body: unknown,
      timeoutMs: number,
      context: number,
    ) => {
      during(PHASE_REQUEST, "a call-out is started in onRequest and onCallout");
      const x = exchange();
      const authority = plan.callouts[target];
      if (authority === undefined) throw new HostTrap(`call-out target ${target} is not declared`);
      if (x.callout !== null) throw new HostTrap("one call-out at a time");
      if (x.callouts >= LIMITS.calloutsPerRequest) {
        throw new HostTrap(`more than ${LIMITS.calloutsPerRequest} call-outs for one request`);
      }
      if (!(timeoutMs >= 1 && timeoutMs <= LIMITS.calloutTimeoutMs)) {
        throw new HostTrap(
          `${timeoutMs} is not a time-out from 1 to ${LIMITS.calloutTimeoutMs} ms`,
        );
      }
      const verb = textOf(method, "a method");
      if (!TOKEN.test(verb) || verb.toUpperCase() === "CONNECT") {
        throw new HostTrap("a call-out has no valid method");
      }
      const content = body === null ? "" : textOf(body, "a body");
      x.callouts++;
      x.callout = {
        filter: plan.ref.name,
        authority,
        method: verb,
        path: pathOf(path),
        headers: at.calloutHeaders,
        body: content,
        timeoutMs,
        context,
      };
      at.calloutHeaders = [];
    },
    callout_header: (name: unknown) => theAnswer().header(textOf(name, "a header's name")),
    callout_text: () => {
      const { body } = theAnswer();
      if (at.fuel !== null) charge(at.fuel, body.length >>> 2);
      return latin1(body, 0, body.length);
    },
  };
}
