// deno-fmt-ignore-file -- the formatter drops decorators of functions

// The heads of requests and responses, as the header x-do asks for; and what a host must stop.

import {
  Action, config, connection, CONTINUE, is, reply, replyHeader, request, response, setAttemptTimeout,
  chooseEndpoint, Limit, setLimit, Text, text,
} from "@tulle/filter";

@external("tulle", "request_set")
declare function rawSet(slot: i32, value: externref): void;

@external("tulle", "request_header")
declare function rawHeader(slot: i32): externref;

@external("tulle", "apply_edit")
declare function rawEdit(edit: i32): void;

const NOWHERE = 100;

export function onRequest(): Action {
  const what = request.header("x-do");
  if (is(what, "read")) {
    request.set("x-method", request.method());
    request.set("x-path", request.path());
    request.set("x-authority", request.authority());
    request.set("x-peer", connection.peer());
    request.set("x-route", request.route());
    request.set("x-remote", connection.remoteIp());
    request.set("x-target", connection.targetIp());
    request.set("x-inbound", connection.inbound() ? text("yes") : text("no"));
  }
  if (is(what, "parameter")) request.set("x-out", request.header("x-in"));
  if (is(what, "absent")) request.set("x-out", !request.header("x-in") ? text("yes") : text("no"));
  if (is(what, "second")) request.set("x-out", request.headerAt("x-in", 1));
  if (is(what, "third")) request.set("x-out", !request.headerAt("x-in", 2) ? text("none") : text("one"));
  if (is(what, "add")) request.add("x-in", request.path());
  if (is(what, "add-then-read")) {
    request.add("x-out", request.path());
    request.set("x-seen", request.headerAt("x-out", 0));
  }
  if (is(what, "remove")) request.remove("x-in");
  if (is(what, "literal")) request.set("x-out", "caf\u00e9");
  if (is(what, "path")) request.setPath("/v2/x?y=1");
  if (is(what, "authority")) request.setAuthority("other.test:81");
  if (is(what, "timeouts")) {
    request.setTimeout(500);
    setAttemptTimeout(200);
  }
  if (is(what, "limits")) {
    setLimit(Limit.Head, 3600001);
    setLimit(Limit.Exchange, 5);
    setLimit(Limit.Exchange, 6);
    setLimit(Limit.Response, 1);
    setLimit(Limit.Idle, i32.MAX_VALUE);
  }
  if (is(what, "choose")) chooseEndpoint("zone", "west", true);
  if (is(what, "reply")) {
    replyHeader("x-why", request.path());
    return reply(403, "no\n");
  }
  if (is(what, "reply-empty")) return reply(200, null);
  // what a host must stop
  if (is(what, "trap")) {
    request.set("x-out", request.path());
    request.setPath("/elsewhere");
    request.setTimeout(1);
    setLimit(Limit.Idle, 1);
    unreachable();
  }
  if (is(what, "slot")) rawSet(NOWHERE, request.path());
  if (is(what, "not-written")) rawSet(12, request.path()); // that of x-do, which is only read
  if (is(what, "not-read")) request.set("x-method", rawHeader(NOWHERE));
  if (is(what, "absent-value")) request.set("x-method", request.header("x-in"));
  if (is(what, "edit")) rawEdit(NOWHERE);
  if (is(what, "line")) request.set("x-method", text("a\r\nb: c"));
  if (is(what, "bad-path")) request.setPath("no/slash");
  if (is(what, "bad-authority")) request.setAuthority("a b");
  if (is(what, "bad-status")) return reply(199, "x");
  if (is(what, "bad-timeout")) request.setTimeout(0);
  if (is(what, "bad-limit")) setLimit(Limit.Idle, 0);
  if (is(what, "bad-limit-kind")) setLimit(4, 1);
  if (is(what, "action")) return 9;
  if (is(what, "unsaid")) return 1;
  if (is(what, "early")) response.set("x-why", "x");
  return CONTINUE;
}

export function onResponse(status: i32): Action {
  const what = response.header("x-do");
  if (is(what, "set")) response.set("x-out", response.header("x-in"));
  if (is(what, "add")) response.add("x-in", "more");
  if (is(what, "remove")) response.remove("x-in");
  if (is(what, "second")) response.set("x-out", response.headerAt("x-in", 1));
  if (is(what, "status")) response.setStatus(status + 10);
  if (is(what, "reply")) return reply(502, "instead\n");
  if (is(what, "request")) response.set("x-out", request.header("x-in"));
  if (is(what, "bad-status")) response.setStatus(304);
  if (is(what, "late")) rawSet(1, request.path());
  if (is(what, "trap")) {
    response.set("x-out", "half");
    unreachable();
  }
  return CONTINUE;
}
