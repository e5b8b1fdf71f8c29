// deno-fmt-ignore-file -- the formatter drops decorators of functions

// How long a request may take, in more detail than `request.setTimeout`. The timers are the proxy's.

/** What a time limit holds for. */
export enum Limit {
  /** Until the response's head, retries included; as `request.setTimeout`, which ends at an hour. */
  Head = 0,
  /** The whole exchange, with retries and both bodies. */
  Exchange = 1,
  /** From the end of the request to the end of the response. */
  Response = 2,
  /** Without a byte in either direction. */
  Idle = 3,
}

@external("tulle", "set_time_limit")
declare function hostLimit(kind: i32, ms: i32): void;

/** Sets one limit of the request, of at least a millisecond; in `onRequest`. The last filter's counts. */
export function setLimit(limit: Limit, ms: i32): void {
  hostLimit(limit, ms);
}
