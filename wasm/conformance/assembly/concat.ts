// deno-fmt-ignore-file -- the formatter drops decorators of functions

// A module that no host takes: it imports a string function that makes new strings.

import { Action, CONTINUE, request } from "@tulle/filter";

@external("wasm:js-string", "concat")
declare function concat(a: externref, b: externref): externref;

export function onRequest(): Action {
  request.set("x-out", concat(request.path(), request.path()));
  return CONTINUE;
}
