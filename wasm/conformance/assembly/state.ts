// deno-fmt-ignore-file -- the formatter drops decorators of functions

// State of the proxy, time, chance, the log, copies of texts.

import {
  Action, config, CONTINUE, copy, is, lend, log, now, random, reply, request, shared, text, wallTime,
} from "@tulle/filter";

@external("tulle", "config_refuse")
declare function rawRefuse(slot: i32, why: externref): void;

@external("tulle", "text")
declare function rawText(from: usize, count: i32): externref;

const unused = config.text("unused", "");
let last: string = "";
let before: f64 = 0;

export function onRequest(): Action {
  const what = request.header("x-do");
  if (is(what, "take")) {
    return shared.take(request.header("x-user"), 0.000001, 2, 1) ? CONTINUE : reply(429, "slow down\n");
  }
  if (is(what, "add")) {
    const sum = shared.add(request.header("x-user"), 2);
    request.set("x-sum", sum == 2 ? text("2") : sum == 4 ? text("4") : text("else"));
  }
  if (is(what, "keep")) {
    request.set("x-last", lend(last));
    last = copy(request.header("x-user"));
  }
  if (is(what, "time")) {
    const at = now();
    const chance = random();
    const fits = at >= before && wallTime() >= 0 && chance >= 0 && chance < 1;
    before = at;
    request.set("x-sum", fits ? text("fits") : text("does not"));
  }
  if (is(what, "log")) {
    log.info("said");
    log.number("counted", 7);
  }
  if (is(what, "absent-key")) shared.take(request.header("x-user"), 1, 1, 1);
  if (is(what, "bad-rate")) shared.take(what, 0, 1, 1);
  if (is(what, "part")) shared.add(what, 0.5);
  if (is(what, "refuse")) rawRefuse(0, what); // only before the first request
  if (is(what, "outside")) request.set("x-sum", rawText(0xfffffff0, 100));
  if (is(what, "wide")) request.set("x-sum", lend("\u20ac"));
  if (is(what, "abort")) abort("on purpose");
  return is(unused, "x") ? reply(200, unused) : CONTINUE;
}
