// The filters of one route in their order: requests forwards, responses backwards, `end` for exactly
// those that saw the request.

import type { Exchange } from "../../src/core/exchange.ts";
import {
  type BodyNeed,
  type BodyPiece,
  type CalloutAnswer,
  CONTINUE,
  FAILED,
  type FilterChain,
  HOOK_ATTEMPT,
  HOOK_CONNECTION,
  HOOK_CONNECTION_END,
  HOOK_END,
  HOOK_OUTCOME,
  HOOK_REQUEST,
  HOOK_REQUEST_BODY,
  HOOK_RESPONSE,
  HOOK_RESPONSE_BODY,
  HOOK_TRAILERS,
  type Outcome,
  type UnloadedFilter,
  type Verdict,
} from "../../src/core/filter.ts";
import type { ResponseHead } from "../../src/core/head.ts";
import { OPINION_NO, OPINION_NONE } from "./guest.ts";
import type { FilterUnit } from "./unit.ts";

/** What a chain asks of its members. */
type Member = Pick<
  FilterUnit,
  | "hooks"
  | "request"
  | "response"
  | "outcome"
  | "end"
  | "attempt"
  | "trailers"
  | "callout"
  | "body"
  | "needs"
  | "connection"
  | "connectionEnd"
>;

/** Stands for a filter with the closed policy that could not be loaded. */
export function unloaded(filter: UnloadedFilter): Member {
  const fail = (x: Exchange): Verdict => {
    x.filterError = `filter "${filter.ref.name}" is not loaded: ${filter.why}`;
    return FAILED;
  };
  return {
    hooks: HOOK_REQUEST | HOOK_CONNECTION,
    request: fail,
    connection: fail,
    connectionEnd: () => {},
    attempt: () => {},
    trailers: () => {},
    callout: () => CONTINUE,
    body: () => CONTINUE,
    needs: {},
    response: () => CONTINUE,
    outcome: () => OPINION_NONE,
    end: () => {},
  };
}

/** A chain. One is made for a route and configuration; requests keep the one they started with. */
export class Chain implements FilterChain {
  readonly hooks: number;
  readonly #members: readonly Member[];
  readonly #request: readonly Member[];
  readonly #outcome: readonly Member[];
  /** In reverse. */
  readonly #response: readonly Member[];
  /** In reverse. */
  readonly #end: readonly Member[];
  readonly #attempt: readonly Member[];
  readonly #connection: readonly Member[];
  /** In reverse. */
  readonly #connectionEnd: readonly Member[];
  readonly requestBody: BodyNeed | null;
  readonly responseBody: BodyNeed | null;
  readonly #requestBody: readonly Member[];
  /** In reverse. */
  readonly #responseBody: readonly Member[];
  /** In reverse. */
  readonly #trailers: readonly Member[];
  readonly #keepsRequest: boolean;

  constructor(members: readonly Member[], keepsRequest: boolean) {
    const having = (hook: number) => members.filter((m) => (m.hooks & hook) !== 0);
    this.#members = members;
    this.#request = having(HOOK_REQUEST);
    this.#outcome = having(HOOK_OUTCOME);
    this.#response = having(HOOK_RESPONSE).reverse();
    this.#end = having(HOOK_END).reverse();
    this.#attempt = having(HOOK_ATTEMPT);
    this.#connection = having(HOOK_CONNECTION);
    this.#connectionEnd = having(HOOK_CONNECTION_END).reverse();
    this.#requestBody = having(HOOK_REQUEST_BODY);
    this.#responseBody = having(HOOK_RESPONSE_BODY).reverse();
    this.requestBody = together(this.#requestBody.map((m) => m.needs.request));
    this.responseBody = together(this.#responseBody.map((m) => m.needs.response));
    this.#trailers = having(HOOK_TRAILERS).reverse();
    this.#keepsRequest = keepsRequest;
    this.hooks = members.reduce((bits, m) => bits | m.hooks, 0);
  }

  requestHead(x: Exchange): Verdict {
    if (this.#keepsRequest) x.request.retain();
    return this.#requestFrom(x, 0);
  }

  requestAnswered(x: Exchange, answer: CalloutAnswer): Verdict {
    const { callout } = x;
    const member = this.#members[x.filtersSeen - 1];
    x.callout = null;
    if (callout === null || member === undefined) return CONTINUE;
    const verdict = member.callout(x, callout.context, answer);
    if (verdict !== CONTINUE) return this.#stop(x, member, verdict);
    x.filtersSeen = -1;
    return this.#requestFrom(x, this.#request.indexOf(member) + 1);
  }

  #requestFrom(x: Exchange, from: number): Verdict {
    const members = this.#request;
    for (let i = from; i < members.length; i++) {
      const member = members[i] as Member;
      const verdict = member.request(x);
      if (verdict !== CONTINUE) return this.#stop(x, member, verdict);
    }
    return CONTINUE;
  }

  #stop(x: Exchange, member: Member, verdict: Verdict): Verdict {
    x.filtersSeen = this.#members.indexOf(member) + (verdict === FAILED ? 0 : 1);
    return verdict;
  }

  attemptStart(x: Exchange): void {
    const members = this.#attempt;
    for (let i = 0; i < members.length; i++) (members[i] as Member).attempt(x);
  }

  requestPiece(x: Exchange, piece: BodyPiece, last: boolean, tooLong: boolean): Verdict {
    for (const member of this.#requestBody) {
      if (tooLong && (member.needs.request?.wholeBytes ?? 0) > 0) continue;
      const verdict = member.body(x, false, piece, last);
      if (verdict !== CONTINUE) return verdict;
    }
    return CONTINUE;
  }

  responsePiece(x: Exchange, piece: BodyPiece, last: boolean, tooLong: boolean): Verdict {
    for (const member of this.#responseBody) {
      if (tooLong && (member.needs.response?.wholeBytes ?? 0) > 0) continue;
      const verdict = member.body(x, true, piece, last);
      if (verdict !== CONTINUE) return verdict;
    }
    return CONTINUE;
  }

  responseTrailers(x: Exchange, trailers: ResponseHead): void {
    for (const member of this.#trailers) member.trailers(x, trailers);
  }

  connectionOpen(x: Exchange): Verdict {
    for (const member of this.#connection) {
      const verdict = member.connection(x);
      if (verdict !== CONTINUE) return verdict;
    }
    return CONTINUE;
  }

  connectionEnd(x: Exchange, bytesIn: number, bytesOut: number, elapsedMs: number): void {
    for (const member of this.#connectionEnd) member.connectionEnd(x, bytesIn, bytesOut, elapsedMs);
  }

  attemptOutcome(x: Exchange, outcome: Outcome): number {
    const members = this.#outcome;
    let delayMs = -1;
    for (let i = 0; i < members.length; i++) {
      const opinion = (members[i] as Member).outcome(x, outcome);
      if (opinion === OPINION_NO) return -1;
      if (opinion !== OPINION_NONE && opinion > delayMs) delayMs = opinion;
    }
    return delayMs;
  }

  responseHead(x: Exchange, head: ResponseHead): Verdict {
    const members = this.#response;
    const seen = this.#seen(x);
    for (let i = 0; i < members.length; i++) {
      const member = members[i] as Member;
      if (seen < this.#members.length && this.#members.indexOf(member) >= seen) continue;
      const verdict = member.response(x, head);
      if (verdict !== CONTINUE) return verdict;
    }
    return CONTINUE;
  }

  end(x: Exchange, status: number, elapsedMs: number): void {
    const members = this.#end;
    const seen = this.#seen(x);
    for (let i = 0; i < members.length; i++) {
      const member = members[i] as Member;
      if (seen < this.#members.length && this.#members.indexOf(member) >= seen) continue;
      member.end(x, status, elapsedMs);
    }
  }

  /** How many of the members saw the request. */
  #seen(x: Exchange): number {
    return x.filtersSeen < 0 ? this.#members.length : x.filtersSeen;
  }
}

/** What several filters need of one body: whole when one wants it so, within the least of the bounds. */
function together(needs: readonly (BodyNeed | undefined)[]): BodyNeed | null {
  const all = needs.filter((n) => n !== undefined);
  if (all.length === 0) return null;
  const whole = all.filter((n) => n.wholeBytes > 0);
  return {
    wholeBytes: whole.length === 0 ? 0 : Math.min(...whole.map((n) => n.wholeBytes)),
    over: whole.some((n) => n.over === "refuse") ? "refuse" : "pass",
    replaces: all.some((n) => n.replaces),
  };
}
