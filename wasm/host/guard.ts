// What host functions check before they do anything: is there such a thing in this hook, did the
// manifest declare it, is the value well-formed and paid for. Each failure is a named `HostTrap`.

import type { Exchange } from "../../src/core/exchange.ts";
import type { BodyPiece, CalloutAnswer } from "../../src/core/filter.ts";
import type {
  Head,
  HeaderEdit,
  HeaderName,
  RequestHead,
  ResponseHead,
} from "../../src/core/head.ts";
import { LIMITS } from "../abi.ts";
import { isHeaderValue } from "./manifest.ts";
import type { FilterPlan } from "./plan.ts";
import {
  MAX_EDITS,
  PHASE_REQUEST,
  PHASE_REQUEST_BODY,
  PHASE_START,
  type Situation,
} from "./situation.ts";
import { HostTrap } from "./trap.ts";

/** The checks of one instance. */
export type Guard = ReturnType<typeof createGuard>;

/** Makes the checks; plain closures, since they run for every call. */
export function createGuard(plan: FilterPlan, at: Situation) {
  const { headers } = plan;

  const exchange = (): Exchange => {
    if (at.x === null) throw new HostTrap("there is no request while the filter starts or ticks");
    return at.x;
  };
  /** The request, where its bytes are still there. */
  const requestToRead = (): RequestHead => {
    const x = exchange();
    if (at.phase !== PHASE_REQUEST && !plan.keepsRequest) {
      throw new HostTrap("reads the request after onRequest, which the manifest does not declare");
    }
    return x.request;
  };
  const requestToWrite = (): RequestHead => {
    const isHeld = at.phase === PHASE_REQUEST_BODY &&
      (plan.manifest.bodies?.request?.wholeBytes ?? 0) > 0;
    if (at.phase !== PHASE_REQUEST && !isHeld) {
      throw new HostTrap("the request is changed only in onRequest");
    }
    return exchange().request;
  };
  const theResponse = (): ResponseHead => {
    if (at.response === null) throw new HostTrap("there is a response only in onResponse");
    return at.response;
  };
  const theTrailers = (): ResponseHead => {
    if (at.trailers === null) throw new HostTrap("there are trailers only in onTrailers");
    return at.trailers;
  };
  /** Keys are the filter's own: two filters do not share. */
  const keyOf = (key: unknown): string => {
    if (at.phase === PHASE_START) throw new HostTrap("shared state is not for the start");
    const text = textOf(key, "a key");
    if (text.length > LIMITS.keyBytes) {
      throw new HostTrap(`a key is longer than ${LIMITS.keyBytes} bytes`);
    }
    return `${plan.ref.name}\0${text}`;
  };
  const theAnswer = (): CalloutAnswer => {
    if (at.answer === null) throw new HostTrap("there is an answer only in onCallout");
    return at.answer;
  };
  const pathOf = (path: unknown): string => {
    const text = textOf(path, "a path");
    if (!/^\/[\x21\x22\x24-\x7e\x80-\xff]*$/.test(text)) {
      throw new HostTrap("a path starts with / and has no space or control character");
    }
    return text;
  };
  const thePiece = (): BodyPiece => {
    if (at.piece === null) throw new HostTrap("there is a body only in the hooks for bodies");
    return at.piece;
  };
  /** Bytes of the filter's memory, which it paid for. */
  const memoryAt = (address: number, count: number): Uint8Array => {
    const from = address >>> 0;
    const size = at.memory?.buffer.byteLength ?? 0;
    if (at.memory === null || count > size || from > size - count) {
      throw new HostTrap(`${count} bytes at ${from} are not in the memory`);
    }
    if (at.fuel !== null) charge(at.fuel, count >>> 4);
    return new Uint8Array(at.memory.buffer, from, count);
  };
  const write = (bytes: Uint8Array): void => {
    thePiece();
    at.writtenBytes += bytes.length;
    if (at.writtenBytes > LIMITS.bodyBytes || at.written.length >= MAX_EDITS) {
      throw new HostTrap(`more than ${LIMITS.bodyBytes} bytes in the place of one piece`);
    }
    at.written.push(bytes);
  };
  const during = (phases: number, why: string): void => {
    if ((at.phase & phases) === 0) throw new HostTrap(why);
  };
  const timeout = (ms: number): number => {
    if (ms >= 1 && ms <= LIMITS.maxTimeoutMs) return ms;
    throw new HostTrap(`${ms} is not a time-out from 1 to ${LIMITS.maxTimeoutMs} ms`);
  };
  const header = (slot: number, mask: Uint8Array, what: string): HeaderName => {
    if (mask[slot] !== 1) {
      throw new HostTrap(`header slot ${slot} is not declared as ${what} in the manifest`);
    }
    return headers[slot] as HeaderName;
  };
  const textOf = (value: unknown, what: string): string => {
    if (typeof value !== "string") throw new HostTrap(`${what} is absent`);
    if (value.length > LIMITS.textBytes) {
      throw new HostTrap(`${what} is longer than ${LIMITS.textBytes} bytes`);
    }
    if (value.length >= LONG_TEXT && at.fuel !== null) charge(at.fuel, value.length);
    return value;
  };
  const headerValue = (value: unknown): string => {
    const text = textOf(value, "a header's value");
    if (!isHeaderValue(text)) throw new HostTrap("a header's value has NUL, CR or LF in it");
    return text;
  };
  const room = (head: Head): Head => {
    if (head.edits.length >= MAX_EDITS) {
      throw new HostTrap(`more than ${MAX_EDITS} changes to one head`);
    }
    return head;
  };
  const push = (head: Head, edit: HeaderEdit | undefined): void => {
    if (edit === undefined) throw new HostTrap("an edit that the manifest does not have");
    room(head).edits.push(edit);
  };
  const field = (slot: number, ...types: readonly string[]): void => {
    const type = plan.manifest.config[slot]?.type;
    if (type === undefined || !types.includes(type)) {
      throw new HostTrap(`configuration slot ${slot} is not a ${types.join(" or ")}`);
    }
  };

  return {
    exchange,
    requestToRead,
    requestToWrite,
    theResponse,
    theTrailers,
    keyOf,
    theAnswer,
    pathOf,
    thePiece,
    memoryAt,
    write,
    during,
    timeout,
    header,
    textOf,
    headerValue,
    room,
    push,
    field,
  };
}

/** Texts from here on cost an instruction for each byte. */
const LONG_TEXT = 64;

/** Takes `cost` from the instance's fuel. */
export function charge(fuel: WebAssembly.Global, cost: number): void {
  const left = Number(fuel.value) - cost;
  fuel.value = left;
  if (left < 0) throw new HostTrap("out of fuel");
}
