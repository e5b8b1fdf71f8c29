// Each type of configuration, shown in headers.

import { Action, config, CONTINUE, counter, is, length, request, text } from "@tulle/filter";

const number = config.int("number", 3, 0, 10);
const share = config.number("share", 0.5, 0, 1);
const flag = config.flag("flag", false);
const name = config.text("name", "nobody");
const statuses = config.statuses("statuses", "500,502-504");
const paths = config.list("paths", 4);
const sets = config.requestHeaders("sets");
const adds = config.requestHeaders("adds");
const removes = config.requestNames("removes");
const seen = counter({
  name: "seen_total",
  help: "Requests by path",
  labels: { name: name, path: paths.or("other") },
});

export function configure(): void {
  if (is(name, "root")) config.refuse("name", "must not be root");
  if (is(name, "trap")) unreachable();
}

export function onRequest(): Action {
  sets.set();
  adds.add();
  removes.remove();
  request.set("x-name", name);
  request.set("x-number", number == 3 ? text("three") : number == 10 ? text("ten") : text("else"));
  request.set("x-share", share == 0.5 ? text("half") : text("else"));
  request.set("x-flag", flag ? text("yes") : text("no"));
  request.set("x-has", statuses.has(503) && !statuses.has(501) ? text("503") : text("else"));
  let at = paths.length;
  for (let i = 0; i < paths.length; i++) if (is(paths.at(i), request.path())) at = i;
  seen.inc(0, at);
  if (paths.length > 0) request.set("x-first", paths.at(0));
  if (length(paths.at(9)) != 0) unreachable();
  return CONTINUE;
}
