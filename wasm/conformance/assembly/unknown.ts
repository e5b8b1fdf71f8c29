// deno-fmt-ignore-file -- the formatter drops decorators of functions

// A module that no host takes: it imports what the ABI does not have.

import { Action } from "@tulle/filter";

@external("tulle", "open_file")
declare function openFile(path: externref): i32;

export function onRequest(): Action {
  return openFile(null);
}
