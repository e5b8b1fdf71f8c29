// One instance of a filter and its hooks. Called for every request: a hook is a few property reads, the
// header parameters, and one call into the module. Whatever is thrown here the unit catches.

import type { Exchange } from "../../src/core/exchange.ts";
import { type BodyPiece, type CalloutAnswer, type Outcome } from "../../src/core/filter.ts";
import type { Head, HeaderEdit, HeaderName, ResponseHead } from "../../src/core/head.ts";
import {
  ACTION_CONTINUE,
  ACTION_DENY,
  ACTION_PAUSE,
  ACTION_REPLACE,
  ACTION_REPLY,
  EDIT_COUNT_SHIFT,
  EDIT_FIRST_SHIFT,
  HOOK_EXPORTS,
  RETRY_DELAY_SHIFT,
  RETRY_NEUTRAL,
  RETRY_NO,
  RETRY_YES,
} from "../abi.ts";
import { type Hook, startInstance } from "./instance.ts";
import type { FilterPlan } from "./plan.ts";
import {
  beginHook,
  createSituation,
  MAX_EDITS,
  PHASE_ATTEMPT,
  PHASE_CONNECTION,
  PHASE_END,
  PHASE_IDLE,
  PHASE_OUTCOME,
  PHASE_REQUEST,
  PHASE_REQUEST_BODY,
  PHASE_RESPONSE,
  PHASE_RESPONSE_BODY,
  PHASE_TICK,
  PHASE_TRAILERS,
  type Situation,
  type World,
} from "./situation.ts";
import { NOT_ENTERED } from "./rewrite.ts";
import { HostTrap } from "./trap.ts";

/** `attemptOutcome`'s opinions: a delay in ms, or one of these. */
export const OPINION_NONE = -1;
export const OPINION_NO = -2;

/** A started instance. */
export class Guest {
  readonly exports: WebAssembly.Exports;
  readonly memory: WebAssembly.Memory | null;
  readonly #plan: FilterPlan;
  readonly #at: Situation = createSituation(PHASE_IDLE);
  readonly #allowance: WebAssembly.Global;
  readonly #fuel: WebAssembly.Global;
  readonly #request: Hook | null;
  readonly #outcome: Hook | null;
  readonly #response: Hook | null;
  readonly #end: Hook | null;
  readonly #attempt: Hook | null;
  readonly #tick: Hook | null;
  readonly #trailers: Hook | null;
  readonly #callout: Hook | null;
  readonly #requestBody: Hook | null;
  readonly #responseBody: Hook | null;
  readonly #connection: Hook | null;
  readonly #connectionEnd: Hook | null;

  /** Instantiates, starts and configures. Throws `FilterRefused` with the reason. */
  constructor(plan: FilterPlan, world: World) {
    this.#plan = plan;
    const started = startInstance(plan, this.#at, world);
    this.exports = started.exports;
    this.memory = started.memory;
    this.#fuel = started.fuel;
    this.#allowance = started.allowance;
    const find = (name: string) => (this.exports[name] as Hook | undefined) ?? null;
    this.#request = find(HOOK_EXPORTS.request);
    this.#outcome = find(HOOK_EXPORTS.outcome);
    this.#response = find(HOOK_EXPORTS.response);
    this.#end = find(HOOK_EXPORTS.end);
    this.#attempt = find(HOOK_EXPORTS.attempt);
    this.#tick = find(HOOK_EXPORTS.tick);
    this.#trailers = find(HOOK_EXPORTS.trailers);
    this.#callout = find(HOOK_EXPORTS.callout);
    this.#requestBody = find(HOOK_EXPORTS.requestBody);
    this.#responseBody = find(HOOK_EXPORTS.responseBody);
    this.#connection = find(HOOK_EXPORTS.connection);
    this.#connectionEnd = find(HOOK_EXPORTS.connectionEnd);
  }

  /** Fuel that the last hook left over; below 0: it ran out. */
  get fuelLeft(): number {
    return Number(this.#fuel.value);
  }

  /** Fuel that all hooks together may use until the next hook is not entered. */
  get allowance(): number {
    return Number(this.#allowance.value);
  }

  set allowance(fuel: number) {
    this.#allowance.value = fuel;
  }

  /** The hook that threw was not entered: the allowance was used up. */
  get notEntered(): boolean {
    return this.fuelLeft === NOT_ENTERED && this.allowance < 0;
  }

  /** `ACTION_CONTINUE` or `ACTION_REPLY`. */
  request(x: Exchange): number {
    const hook = this.#request;
    if (hook === null) return ACTION_CONTINUE;
    const at = this.#at;
    beginHook(at, PHASE_REQUEST, x);
    const p = this.#plan.requestParams;
    const h = x.request;
    let result: number;
    switch (p.length) {
      case 0:
        result = hook();
        break;
      case 1:
        result = hook(h.get(p[0] as HeaderName));
        break;
      case 2:
        result = hook(h.get(p[0] as HeaderName), h.get(p[1] as HeaderName));
        break;
      case 3:
        result = hook(
          h.get(p[0] as HeaderName),
          h.get(p[1] as HeaderName),
          h.get(p[2] as HeaderName),
        );
        break;
      default:
        result = hook(...p.map((name) => h.get(name)));
    }
    at.x = null;
    return this.#action(result, h, 0, "onRequest", x.callout !== null);
  }

  /** `ACTION_CONTINUE` or `ACTION_REPLY`. */
  response(x: Exchange, head: ResponseHead): number {
    const hook = this.#response;
    if (hook === null) return ACTION_CONTINUE;
    const at = this.#at;
    beginHook(at, PHASE_RESPONSE, x);
    at.response = head;
    const p = this.#plan.responseParams;
    let result: number;
    switch (p.length) {
      case 0:
        result = hook(head.status);
        break;
      case 1:
        result = hook(head.status, head.get(p[0] as HeaderName));
        break;
      case 2:
        result = hook(head.status, head.get(p[0] as HeaderName), head.get(p[1] as HeaderName));
        break;
      default:
        result = hook(head.status, ...p.map((name) => head.get(name)));
    }
    at.x = null;
    at.response = null;
    return this.#action(result, head, 1, "onResponse");
  }

  /** A delay in ms, `OPINION_NONE` or `OPINION_NO`. */
  outcome(x: Exchange, outcome: Outcome): number {
    const hook = this.#outcome;
    if (hook === null) return OPINION_NONE;
    const at = this.#at;
    at.phase = PHASE_OUTCOME;
    at.x = x;
    const result = hook(outcome.status, outcome.error, x.attempt, outcome.elapsedMs);
    at.x = null;
    switch (result & 0xff) {
      case RETRY_NEUTRAL:
        return OPINION_NONE;
      case RETRY_YES:
        return result >>> RETRY_DELAY_SHIFT;
      case RETRY_NO:
        return OPINION_NO;
      default:
        throw new HostTrap(`onOutcome returned ${result}, which is no opinion`);
    }
  }

  end(x: Exchange, status: number, elapsedMs: number): void {
    const hook = this.#end;
    if (hook === null) return;
    const at = this.#at;
    at.phase = PHASE_END;
    at.x = x;
    hook(status, elapsedMs);
    at.x = null;
  }

  attempt(x: Exchange): void {
    const at = this.#at;
    at.phase = PHASE_ATTEMPT;
    at.x = x;
    this.#attempt?.(x.attempt);
    at.x = null;
  }

  /** As `request`, with the answer to what it asked. */
  callout(x: Exchange, context: number, answer: CalloutAnswer): number {
    const hook = this.#callout;
    if (hook === null) return ACTION_CONTINUE;
    const at = this.#at;
    const { body } = answer;
    beginHook(at, PHASE_REQUEST, x);
    at.answer = answer;
    at.piece = { buf: body, from: 0, to: body.length };
    let result: number;
    try {
      result = hook(context, answer.status, body.length);
    } finally {
      at.answer = null;
      at.piece = null;
    }
    at.x = null;
    return this.#action(result, x.request, 0, "onCallout", x.callout !== null);
  }

  /** `ACTION_CONTINUE` or `ACTION_REPLY`; `piece` is then what goes on. */
  body(x: Exchange, isResponse: boolean, piece: BodyPiece, last: boolean): number {
    const hook = isResponse ? this.#responseBody : this.#requestBody;
    const { bodies } = this.#plan.manifest;
    const need = isResponse ? bodies?.response : bodies?.request;
    if (hook === null || need === undefined) return ACTION_CONTINUE;
    const at = this.#at;
    beginHook(at, isResponse ? PHASE_RESPONSE_BODY : PHASE_REQUEST_BODY, x);
    at.piece = piece;
    at.written.length = 0;
    at.writtenBytes = 0;
    const result = hook(piece.to - piece.from, last ? 1 : 0);
    at.x = null;
    at.piece = null;
    if (result === ACTION_CONTINUE) return result;
    if (result === ACTION_REPLACE && need.replaces) {
      piece.buf = joined(at.written, at.writtenBytes);
      piece.from = 0;
      piece.to = at.writtenBytes;
      return ACTION_CONTINUE;
    }
    if (result === ACTION_REPLY && at.replied && need.wholeBytes > 0) return result;
    throw new HostTrap(
      `onR${isResponse ? "esponse" : "equest"}Body returned ${result}, which it may not`,
    );
  }

  trailers(x: Exchange, trailers: ResponseHead): void {
    const at = this.#at;
    at.phase = PHASE_TRAILERS;
    at.x = x;
    at.trailers = trailers;
    try {
      this.#trailers?.();
    } finally {
      at.trailers = null;
    }
    at.x = null;
  }

  tick(): void {
    this.#at.phase = PHASE_TICK;
    this.#at.x = null;
    this.#tick?.();
  }

  /** False: the connection is refused. */
  connection(x: Exchange): boolean {
    const at = this.#at;
    at.phase = PHASE_CONNECTION;
    at.x = x;
    const result = this.#connection?.() ?? ACTION_CONTINUE;
    at.x = null;
    if (result !== ACTION_CONTINUE && result !== ACTION_DENY) {
      throw new HostTrap(`onConnection returned ${result}, which is no action`);
    }
    return result === ACTION_CONTINUE;
  }

  connectionEnd(x: Exchange, bytesIn: number, bytesOut: number, elapsedMs: number): void {
    const at = this.#at;
    at.phase = PHASE_CONNECTION;
    at.x = x;
    this.#connectionEnd?.(bytesIn, bytesOut, elapsedMs);
    at.x = null;
  }

  #action(result: number, head: Head, isResponse: number, hook: string, asks = false): number {
    if (result === ACTION_CONTINUE) return result;
    const count = (result >>> EDIT_COUNT_SHIFT) & 0xff;
    if (count > 0) this.#apply(head, isResponse, result >>> EDIT_FIRST_SHIFT, count);
    const action = result & 0xff;
    if (action === ACTION_PAUSE && isResponse === 0 && asks) return action;
    if (action > ACTION_REPLY) throw new HostTrap(`${hook} returned ${result}, which is no action`);
    if (action === ACTION_REPLY && !this.#at.replied) {
      throw new HostTrap(`${hook} returned REPLY without a call of reply()`);
    }
    return action;
  }

  #apply(head: Head, isResponse: number, first: number, count: number): void {
    const { edits, editsResponse } = this.#plan;
    for (let i = first; i < first + count; i++) {
      if (editsResponse[i] !== isResponse || head.edits.length >= MAX_EDITS) {
        throw new HostTrap(`edit ${i} is not one of this head, or one too many`);
      }
      head.edits.push(edits[i] as HeaderEdit);
    }
  }
}

function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0] as Uint8Array;
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
