// Redirect: answers with another location, made of what the configuration replaces in the request's own
// (Gateway API, HTTPRequestRedirectFilter).

import {
  Action,
  config,
  CONTINUE,
  copy,
  counter,
  is,
  lend,
  length,
  reply,
  replyHeader,
  request,
} from "@tulle/filter";

const scheme = config.text("scheme", "");
const hostname = config.text("hostname", "");
const port = config.int("port", 0, 0, 65535);
const fullPath = config.text("replaceFullPath", "");
const prefix = config.text("replacePrefixMatch", "");
const replacesPrefix = config.flag("replacesPrefix", false);
const matchedPrefix = config.text("matchedPrefix", "/");
const status = config.int("status", 302, 301, 308);

/** Paths with their queries; each byte of them costs fuel. */
const MAX_PATH = 4096;

const redirected = counter({ name: "redirects_total", help: "Requests that were redirected" });

/** Refuses what is no scheme and no redirection. */
export function configure(): void {
  if (length(scheme) > 0 && !is(scheme, "http") && !is(scheme, "https")) {
    config.refuse("scheme", "is neither http nor https");
  }
  if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308) {
    config.refuse("status", "is no redirection");
  }
}

export function onRequest(): Action {
  if (length(request.path()) > MAX_PATH) {
    return reply(414, "The path is too long to be redirected\n");
  }
  const authority = copy(request.authority());
  const path = copy(request.path());
  const wanted = length(scheme) > 0 ? copy(scheme) : "http";
  const location = wanted + "://" + authorityFor(authority, wanted) + pathFor(path);
  // Back to where it came from would go round for ever; the reference lets it pass, too.
  if (location == "http://" + authority + path) return CONTINUE;
  redirected.inc();
  replyHeader("location", lend(location));
  return reply(status, null);
}

/** A scheme without a port means its own port; without a scheme the request's port stays. */
function authorityFor(authority: string, wanted: string): string {
  const colon = authority.lastIndexOf(":");
  const hasPort = colon > authority.lastIndexOf("]");
  const host = length(hostname) > 0
    ? copy(hostname)
    : hasPort
    ? authority.substring(0, colon)
    : authority;
  let chosen = "";
  if (port > 0) chosen = port.toString();
  else if (length(scheme) == 0 && hasPort) chosen = authority.substring(colon + 1);
  if (chosen == (wanted == "https" ? "443" : "80")) chosen = "";
  return chosen.length == 0 ? host : host + ":" + chosen;
}

/** The query stays as it is. */
function pathFor(whole: string): string {
  const mark = whole.indexOf("?");
  const path = mark < 0 ? whole : whole.substring(0, mark);
  const query = mark < 0 ? "" : whole.substring(mark);
  if (length(fullPath) > 0) return slashed(copy(fullPath)) + query;
  if (!replacesPrefix) return whole;
  const matched = trimmed(copy(matchedPrefix));
  if (!path.startsWith(matched)) return whole;
  const rest = path.substring(matched.length);
  const start = copy(prefix);
  const joined = rest.startsWith("/") ? trimmed(start) + rest : start + rest;
  return slashed(joined) + query;
}

function trimmed(path: string): string {
  return path.endsWith("/") ? path.substring(0, path.length - 1) : path;
}

function slashed(path: string): string {
  return path.startsWith("/") ? path : "/" + path;
}
