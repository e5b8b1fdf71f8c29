// What an instance is doing right now – hook, request, piece of a body – as its host functions see it,
// and what the world offers to it.

import type { Exchange } from "../../src/core/exchange.ts";
import type { BodyPiece, CalloutAnswer } from "../../src/core/filter.ts";
import type { ResponseHead } from "../../src/core/head.ts";
import type { Logger } from "../../src/core/log.ts";
import type { HostCells } from "./cells.ts";

/** What a filter is doing right now. */
export const PHASE_IDLE = 0;
export const PHASE_START = 1;
export const PHASE_REQUEST = 2;
export const PHASE_OUTCOME = 4;
export const PHASE_RESPONSE = 8;
export const PHASE_END = 16;
export const PHASE_ATTEMPT = 32;
export const PHASE_TICK = 64;
export const PHASE_CONNECTION = 128;
export const PHASE_REQUEST_BODY = 256;
export const PHASE_RESPONSE_BODY = 512;
export const PHASE_TRAILERS = 1024;
export const PHASE_BODY = PHASE_REQUEST_BODY | PHASE_RESPONSE_BODY;
/** Where a filter may answer. */
export const PHASE_ANSWER = PHASE_REQUEST | PHASE_RESPONSE | PHASE_BODY;

/** Most changes to one head; past them the filter is stopped. */
export const MAX_EDITS = 256;
/** What the host functions of an instance look at; set before each hook. */
export interface Situation {
  phase: number;
  x: Exchange | null;
  response: ResponseHead | null;
  trailers: ResponseHead | null;
  /** The piece of a body that the hook is called for. */
  piece: BodyPiece | null;
  /** What the hook wrote in its place. */
  readonly written: Uint8Array[];
  writtenBytes: number;
  /** The answer to the call-out that the hook is called for. */
  answer: CalloutAnswer | null;
  /** Headers of the `reply` and of the call-out that come. */
  replyHeaders: (readonly [string, string])[];
  calloutHeaders: (readonly [string, string])[];
  /** `reply` was called in this hook. */
  replied: boolean;
  memory: WebAssembly.Memory | null;
  /** The instance's fuel, for what costs more than a call. */
  fuel: WebAssembly.Global | null;
}

/** What the world offers to filters. */
export interface World {
  now(): number;
  /** Of each timed call, the part that timing it takes, in nanoseconds; absent: none. */
  readonly clockNs?: number;
  /** Milliseconds since the epoch. */
  wall(): number;
  random(): number;
  readonly log: Logger;
  /** State of the proxy; null in a try that must change nothing. */
  readonly cells: HostCells | null;
  /** Whether a filter may write one more line now. */
  mayLog(): boolean;
}

/** Of an instance that does nothing. */
export function createSituation(phase: number): Situation {
  return {
    phase,
    x: null,
    response: null,
    trailers: null,
    piece: null,
    written: [],
    writtenBytes: 0,
    answer: null,
    replyHeaders: [],
    calloutHeaders: [],
    replied: false,
    memory: null,
    fuel: null,
  };
}

/** A hook that may answer begins. Nothing that an earlier one prepared is left. */
export function beginHook(at: Situation, phase: number, x: Exchange): void {
  at.phase = phase;
  at.x = x;
  at.replied = false;
  if (at.replyHeaders.length > 0) at.replyHeaders = [];
  if (at.calloutHeaders.length > 0) at.calloutHeaders = [];
}
