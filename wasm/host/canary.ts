// The canary: an instance that is made, started, configured and tried on a made-up request before its
// module serves, and then thrown away. Nothing of it is counted, logged or kept.

import { type ConnInfo, Exchange } from "../../src/core/exchange.ts";
import { FilterRefused } from "../../src/core/filter.ts";
import { type RequestHead, ResponseHead } from "../../src/core/head.ts";
import { SILENT } from "../../src/core/log.ts";
import { Guest } from "./guest.ts";
import type { World } from "./situation.ts";
import type { FilterPlan } from "./plan.ts";
import { memoryUse } from "./memory-use.ts";
import { trapOf } from "./trap.ts";

const NO_ANSWER = { status: 0, error: "a try", header: () => null, body: new Uint8Array(0) };
const CONN: ConnInfo = {
  direction: "outbound",
  remote: { ip: "127.0.0.1", port: 1 },
  target: { ip: "127.0.0.1", port: 1 },
  tls: null,
};

/** Throws `FilterRefused` when an instance does not start, or a hook traps on `GET /`. */
export function tryCanary(plan: FilterPlan, world: World): void {
  const guest = new Guest(plan, { ...world, log: SILENT, cells: null, mayLog: () => false });
  const x = new Exchange(CONN);
  x.begin(world.now());
  writeRequest(x.request);
  const head = new ResponseHead();
  writeStatus(head, 200);
  const failed = new ResponseHead();
  writeStatus(failed, 503);
  const body = { buf: bytesOf("{}"), from: 0, to: 2 };
  const outcome = { status: 200, error: 0, elapsedMs: 1 };
  const tries: readonly (readonly [hook: string, call: () => unknown])[] = [
    ["onRequest", () => guest.request(x)],
    ["onCallout", () => guest.callout(x, x.callout?.context ?? 0, NO_ANSWER)],
    ["onCallout", () => guest.callout(x, 0, { ...NO_ANSWER, status: 200 })],
    ["onAttempt", () => guest.attempt(x)],
    ["onOutcome", () => guest.outcome(x, outcome)],
    ["onOutcome", () => guest.outcome(x, { ...outcome, status: 503 })],
    ["onResponse", () => guest.response(x, head)],
    ["onResponse", () => guest.response(x, failed)],
    ["onTrailers", () => guest.trailers(x, head)],
    ["onEnd", () => guest.end(x, 200, 1)],
    ["onRequestBody", () => guest.body(x, false, { ...body }, true)],
    ["onRequestBody", () => guest.body(x, false, { ...body, to: 0 }, true)],
    ["onResponseBody", () => guest.body(x, true, { ...body }, true)],
    ["onResponseBody", () => guest.body(x, true, { ...body, to: 0 }, true)],
    ["onTick", () => guest.tick()],
    ["onConnection", () => guest.connection(x)],
    ["onConnectionEnd", () => guest.connectionEnd(x, 1, 1, 1)],
  ];
  for (const [hook, call] of tries) {
    try {
      x.callouts = 0;
      call();
      x.callout = null;
    } catch (thrown) {
      const { reason } = trapOf(
        thrown,
        hook,
        guest.fuelLeft,
        plan.fuelPerHook,
        plan.places,
        memoryUse(guest.memory, plan.ref.memoryPages),
      );
      throw new FilterRefused(`${reason}, when it was tried on a made-up request`);
    }
  }
}

const REQUEST = "GET / HTTP/1.1\r\nhost: canary.invalid\r\n\r\n";
const RESPONSE = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

function spans(head: RequestHead | ResponseHead, text: string, name: string): number {
  const at = text.indexOf(`${name}: `);
  const valueFrom = at + name.length + 2;
  head.lend(bytesOf(text), 0, text.length);
  head.count = 1;
  head.spans.set([at, at + name.length, valueFrom, text.indexOf("\r", valueFrom)]);
  return valueFrom;
}

function writeRequest(head: RequestHead): void {
  head.authorityFrom = spans(head, REQUEST, "host");
  head.authorityTo = head.spans[3] as number;
  head.methodTo = REQUEST.indexOf(" ");
  head.targetFrom = head.pathFrom = head.methodTo + 1;
  head.targetTo = REQUEST.indexOf(" ", head.targetFrom);
}

function writeStatus(head: ResponseHead, status: number): void {
  spans(head, RESPONSE, "content-length");
  head.status = status;
}
