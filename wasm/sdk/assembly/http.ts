// deno-fmt-ignore-file -- the formatter drops decorators of functions

// The request and the response that a hook looks at, and what a hook may answer.

import { Text } from "./text";

/** What `onRequest` and `onResponse` return. */
export type Action = i32;
/** Go on with the next filter. */
export const CONTINUE: Action = 0;
const REPLY: Action = 1;
/** What `onConnection` may return, too: the connection is refused. */
export const DENY: Action = 2;

/** What `onOutcome` returns. */
export type Retry = i32;
/** No opinion: another filter decides. */
export const NEUTRAL: Retry = 0;
/** No retry, whatever the others say. */
export const NO_RETRY: Retry = 2;

/** Retry after `delayMs`. */
export function retry(delayMs: i32): Retry {
  return (min(max(delayMs, 0), 0x7fffff) << 8) | 1;
}

/** How an attempt failed: the bits of `onOutcome`'s `error`; 0 when there was a response. */
export const CONNECT_FAILED = 1;
export const CONNECTION_RESET = 2;
export const TIMED_OUT = 4;

/** The request. Its headers are those that the next filter and the server will see. */
export namespace request {
  @external("tulle", "request_method")
  export declare function method(): Text;

  /** Path with query. */
  @external("tulle", "request_path")
  export declare function path(): Text;

  /** `host[:port]`; empty when there is none. */
  @external("tulle", "request_authority")
  export declare function authority(): Text;

  /** Replaces path and query; must start with `/`. */
  @external("tulle", "request_set_path")
  export declare function setPath(path: Text): void;

  @external("tulle", "request_set_authority")
  export declare function setAuthority(authority: Text): void;

  /** The first value, or absent. */
  @external("tulle", "request_header")
  export declare function header(slot: i32): Text;

  /** Value number `at` of a repeated header, or absent. */
  @external("tulle", "request_header_at")
  export declare function headerAt(slot: i32, at: i32): Text;

  /** Replaces all values. */
  @external("tulle", "request_set")
  export declare function set(slot: i32, value: Text): void;

  @external("tulle", "request_add")
  export declare function add(slot: i32, value: Text): void;

  @external("tulle", "request_remove")
  export declare function remove(slot: i32): void;

  /** What the compiler makes of `set`, `add` and `remove` with a literal value. */
  @external("tulle", "apply_edit")
  export declare function apply(edit: i32): void;

  /** Ends the request after `ms`, instead of the route's time-out; in `onRequest`. */
  @external("tulle", "set_request_timeout")
  export declare function setTimeout(ms: i32): void;

  /** Milliseconds since the request began. */
  @external("tulle", "elapsed_ms")
  export declare function elapsedMs(): f64;

  /** The name of the route that it takes. */
  @external("tulle", "route")
  export declare function route(): Text;

  /** 0 for the first attempt, 1 for the first retry. */
  @external("tulle", "attempt")
  export declare function attempt(): i32;
}

/** The response; only in `onResponse`. */
export namespace response {
  @external("tulle", "response_header")
  export declare function header(slot: i32): Text;

  @external("tulle", "response_header_at")
  export declare function headerAt(slot: i32, at: i32): Text;

  @external("tulle", "response_set")
  export declare function set(slot: i32, value: Text): void;

  @external("tulle", "response_add")
  export declare function add(slot: i32, value: Text): void;

  /** Replaces the status; of responses that can have a body. */
  @external("tulle", "response_set_status")
  export declare function setStatus(status: i32): void;

  @external("tulle", "response_remove")
  export declare function remove(slot: i32): void;

  @external("tulle", "apply_edit")
  export declare function apply(edit: i32): void;
}

/** The fields after the response's body; only in `onTrailers`. */
export namespace trailers {
  @external("tulle", "trailer")
  export declare function get(slot: i32): Text;

  @external("tulle", "trailer_set")
  export declare function set(slot: i32, value: Text): void;

  @external("tulle", "trailer_remove")
  export declare function remove(slot: i32): void;
}

@external("tulle", "reply")
declare function hostReply(status: i32, body: externref): void;

/** Answers here, nothing goes upstream: `return reply(403, "not for you")`. */
export function reply(status: i32, body: Text): Action {
  hostReply(status, body);
  return REPLY;
}

/** A header of the answer that `reply` makes; called before it. */
@external("tulle", "reply_header")
export declare function replyHeader(slot: i32, value: Text): void;
