// deno-fmt-ignore-file -- the formatter drops decorators of functions

// Asking another service before the request goes on: `return callout.start("auth", "GET", "/check")`
// pauses it, `onCallout` is called with the answer. The proxy's configuration says which service each
// target is; what it does not name is refused.

import { Text } from "./text";
import { Action } from "./http";

@external("tulle", "callout_start")
declare function hostStart(
  target: i32, method: externref, path: externref, body: externref, timeoutMs: i32, context: i32,
): void;

@external("tulle", "callout_text")
declare function hostText(): externref;

const PAUSE: Action = 4;

/** In `onRequest` and `onCallout`; the answer only in `onCallout`. */
export namespace callout {
  /** A header of the next call-out. */
  @external("tulle", "callout_add_header")
  export declare function header(name: Text, value: Text): void;

  /** Returned by the hook: it is called again as `onCallout(context, …)`, with status 0 on failure. */
  export function start(
    target: i32, method: Text, path: Text, body: Text = null, timeoutMs: i32 = 1000,
    context: i32 = 0,
  ): Action {
    hostStart(target, method, path, body, timeoutMs, context);
    return PAUSE;
  }

  /** A header of the answer, or absent. */
  @external("tulle", "callout_header")
  export declare function responseHeader(name: Text): Text;

  /** The answer's body; `body.bytes` gives it, too. */
  export function text(): Text {
    return hostText();
  }
}
