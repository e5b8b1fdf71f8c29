// What a filter's test hands in, and what it gets back: plain values.

import type { EndpointChoice } from "../../src/core/exchange.ts";
import type { TestReply } from "./testing-heads.ts";

/** How a filter is loaded for a test. */
export interface TestOptions {
  /** What a `WasmFilter` object has as `spec.config`. */
  readonly config?: object;
  /** The name under which it appears: `test` */
  readonly name?: string;
  /** Instructions that a hook may use; the default is the proxy's. */
  readonly fuelPerHook?: number;
  readonly memoryPages?: number;
  /** Chance, at least 0 and less than 1; without it always 0, so that a test is the same each time. */
  readonly random?: () => number;
  /** What each service answers that the filter asks; null, or nobody here: it gets no answer. */
  readonly callouts?: Readonly<Record<string, (asked: TestCallout) => TestAnswer | null>>;
  /** What a trap does: it fails the test, or is told as the proxy tells it, under a policy. */
  readonly traps?: "throw" | "open" | "closed";
}

/** What a hook did with a head. */
export interface HeadResult {
  /** `failed`: it trapped and the policy is `closed`; `error` says why. */
  readonly verdict: "continue" | "reply" | "failed";
  /** The answer that it gave, or null. */
  readonly reply: TestReply | null;
  readonly error: string;
  /** Fields as they go on, in order, with what the filter changed. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The first value of a field as it goes on, or null. */
  header(name: string): string | null;
  /** Instructions that the hook used. */
  readonly fuel: number;
}
/** What `onRequest` did. */
export interface RequestResult extends HeadResult, AttemptChoices {
  /** Until the response's head; 0: none. */
  readonly requestTimeoutMs: number;
  /** Of the whole exchange, of the response alone, of silence; 0: none. */
  readonly exchangeLimitMs: number;
  readonly responseLimitMs: number;
  readonly idleLimitMs: number;
  readonly path: string;
  readonly authority: string;
}
/** What `onOutcome` said. */
export interface OutcomeResult {
  readonly retry: boolean;
  /** 0 without a retry. */
  readonly delayMs: number;
  readonly fuel: number;
}

/** What a filter asks another service. */
export interface TestCallout {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs: number;
}

/** What that service answers. */
export interface TestAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** How an attempt ended. */
export interface TestOutcome {
  /** 0 when there was no response. */
  readonly status?: number;
  readonly error?: "none" | "connect" | "reset" | "timeout";
  /** How a gRPC call ended; without it, it is none. */
  readonly grpcStatus?: number;
  /** 0 for the first; without it the next one. */
  readonly attempt?: number;
  readonly elapsedMs?: number;
  /** Of the endpoint that was tried. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What a hook used, over all its calls. */
export interface HookFuel {
  readonly hook: string;
  readonly calls: number;
  readonly last: number;
  readonly most: number;
  readonly budget: number;
}

/** What a filter asked for the attempts that follow. */
export interface AttemptChoices {
  /** 0: the route's. */
  readonly timeoutMs: number;
  /** Endpoints by label, or null: any. */
  readonly choice: EndpointChoice | null;
}

/** What `onAttempt` asked for. */
export interface AttemptResult extends AttemptChoices {
  readonly fuel: number;
}

/** What `onResponse` did. */
export interface ResponseResult extends HeadResult {
  readonly status: number;
}

/** What goes on of a response's trailers. */
export interface TrailersResult {
  readonly fields: HeadResult["fields"];
  readonly fuel: number;
}

/** What became of a body. */
export interface BodyResult {
  /** `too-long`: the filter wants it whole and refuses one of this length (413, of a response 503). */
  readonly verdict: HeadResult["verdict"] | "too-long";
  /** What goes on, as text and as bytes. */
  readonly text: string;
  readonly bytes: Uint8Array;
  /** The first value of a field of the request's head as it goes on, or null. */
  header(name: string): string | null;
  readonly reply: TestReply | null;
  readonly error: string;
  /** Of all calls for this body. */
  readonly fuel: number;
}

/** What `onConnection` said. */
export interface ConnectionResult {
  readonly allowed: boolean;
  readonly error: string;
  readonly fuel: number;
}
