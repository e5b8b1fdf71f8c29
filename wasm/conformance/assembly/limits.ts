// Hooks that would not end, and what a host makes of them.

import { Action, CONTINUE, is, request, text } from "@tulle/filter";

let sink: i32 = 0;

function recurse(depth: i32): i32 {
  return depth + recurse(depth + 1) + sink;
}

export function onRequest(): Action {
  const what = request.header("x-do");
  if (is(what, "loop")) { while (true) sink++; }
  if (is(what, "recurse")) sink = recurse(0);
  if (is(what, "fill")) { while (true) memory.fill(0, 1, 60000); }
  if (is(what, "grow")) {
    let pages = 0;
    while (memory.grow(16) >= 0) pages += 16;
    request.set("x-out", pages < 1024 ? text("bounded") : text("not bounded"));
  }
  if (is(what, "many")) { while (true) request.add("x-out", "1"); }
  if (is(what, "calls")) { while (true) sink += request.attempt(); }
  return CONTINUE;
}
