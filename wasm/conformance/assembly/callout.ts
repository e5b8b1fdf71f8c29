// Asks another service, once or again, and goes on by its answer.

import { Action, body, callout, CONTINUE, is, reply, request, text } from "@tulle/filter";

export function onRequest(): Action {
  const what = request.header("x-do");
  if (!what) return CONTINUE;
  callout.header("x-token", request.header("x-token"));
  const action = is(what, "post")
    ? callout.start("users", "POST", "/new", "a=1", 300, 5)
    : callout.start("auth", "GET", "/check?x=1", null, 200, 7);
  if (is(what, "forget")) return CONTINUE;
  if (is(what, "twice")) callout.start("auth", "GET", "/again", null, 200, 8);
  if (is(what, "bad-time")) callout.start("auth", "GET", "/again", null, 30001, 8);
  return action;
}

export function onCallout(context: i32, status: i32, length: i32): Action {
  if (status == 0) return reply(503, "nobody answers\n");
  if (status == 202) return callout.start("auth", "GET", "/later", null, 100, context + 1);
  if (status == 599) {
    request.set("x-user", "half");
    unreachable();
  }
  if (status != 200) return reply(403, callout.text());
  const user = callout.responseHeader("x-user");
  if (user) request.set("x-user", user);
  request.set("x-context", context == 7 ? text("seven") : text("another"));
  const bytes = body.bytes(0, length);
  if (length > 0 && bytes[0] == 0x21) return reply(401, "said so\n");
  return CONTINUE;
}
