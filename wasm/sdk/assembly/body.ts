// deno-fmt-ignore-file -- the formatter drops decorators of functions

// Bodies: the piece that `onRequestBody` or `onResponseBody` is called for, and what goes on in its
// place. Pieces come as they arrive, unless the filter declares that it wants a body whole.

import { Text } from "./text";
import { Action } from "./http";

@external("tulle", "body_read")
declare function hostRead(to: usize, from: i32, count: i32): i32;

@external("tulle", "body_write")
declare function hostWrite(from: usize, count: i32): void;

@external("tulle", "body_write_text")
declare function hostWriteText(text: externref): void;

const REPLACE: Action = 3;

/** In `onRequestBody` and `onResponseBody`. */
export namespace body {
  /** `count` bytes of the piece from `from` on, copied; fewer at its end. */
  export function bytes(from: i32, count: i32): Uint8Array {
    const room = new Uint8Array(max(count, 0));
    const got = hostRead(room.dataStart, from, room.length);
    return got == room.length ? room : room.subarray(0, got);
  }
  /** Returned by the hook: these bytes go on instead of the piece. */
  export function replace(other: Uint8Array): Action {
    hostWrite(other.dataStart, other.length);
    return REPLACE;
  }
  /** As `replace`, with a text. */
  export function replaceText(other: Text): Action {
    hostWriteText(other);
    return REPLACE;
  }
}

/** Declares, as a top-level call, how `onRequestBody` wants the body. */
export namespace requestBody {
  /** At once, before anything is sent on; a body over so many bytes is answered 413. */
  export function whole(maxBytes: i32): void {}
  /** At once; a longer body goes on without this filter. */
  export function wholeOrPass(maxBytes: i32): void {}
}

/** Declares, as a top-level call, how `onResponseBody` wants the body. */
export namespace responseBody {
  /** At once, before anything is returned; a body over so many bytes is answered 503. */
  export function whole(maxBytes: i32): void {}
  /** At once; a longer body goes on without this filter. */
  export function wholeOrPass(maxBytes: i32): void {}
}
