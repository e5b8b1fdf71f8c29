// Matches of routes (Gateway API), read into the conditions that the wire carries: paths, headers, query
// and method of HTTP requests, service and method of gRPC calls.

import { compileRegex } from "../../api/regex.ts";
import { MATCH_ALL } from "../../api/http-match.ts";
import { errorText } from "../../core/errors.ts";
import type { GrpcMatch } from "../../model/attached-route.ts";
import type { RequestMatch } from "../../model/route.ts";
import type { Field } from "../field.ts";
import { headerName, headerValue } from "./route-filters.ts";

const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "CONNECT",
  "OPTIONS",
  "TRACE",
  "PATCH",
] as const;
const MAX_MATCHES = 64;
const MAX_FIELDS = 16;
const EXACT_OR_REGEX = ["Exact", "RegularExpression"] as const;

/** Of one rule of an HTTPRoute. Without any, and without a path, it is every path, as the CRD's default. */
export function readHttpMatches(rule: Field): readonly RequestMatch[] {
  const matches = rule.at("matches");
  if (matches.isAbsent) return [MATCH_ALL];
  return matches.list(MAX_MATCHES).map((m): RequestMatch => {
    const method = m.at("method");
    const parts: RequestMatch[] = [
      pathOf(m.at("path")),
      ...m.at("headers").list(MAX_FIELDS).map(headerOf),
      ...m.at("queryParams").list(MAX_FIELDS).map(queryOf),
      ...(method.isAbsent ? [] : [{ kind: "method" as const, method: method.oneOf(METHODS) }]),
    ];
    const [only, ...more] = parts;
    return only !== undefined && more.length === 0 ? only : { kind: "all", of: parts };
  });
}

function pathOf(path: Field): RequestMatch {
  const type = path.at("type");
  const value = path.at("value");
  const text = value.stringOr("/");
  const kind = type.isAbsent
    ? "PathPrefix"
    : type.oneOf(["Exact", "PathPrefix", "RegularExpression"] as const);
  if (kind === "RegularExpression") return { kind: "path-regex", regex: regexOf(value, text) };
  if (!/^\/[\x21-\x7e]{0,1023}$/.test(text)) {
    value.fail(`is ${JSON.stringify(text.slice(0, 60))}, not a path that begins with /`);
  }
  return kind === "Exact"
    ? { kind: "path-exact", path: text }
    : { kind: "path-prefix", prefix: text };
}

/** A header's name and its value, whole or by expression. */
function headerOf(field: Field): RequestMatch {
  const name = headerName(field.at("name"));
  const value = field.at("value");
  return isRegex(field)
    ? { kind: "header", name, exact: null, regex: regexOf(value, value.string()) }
    : { kind: "header", name, exact: headerValue(value), regex: null };
}

function queryOf(field: Field): RequestMatch {
  const name = field.at("name").string();
  if (name === "" || name.length > 256) field.at("name").fail("is not a parameter's name");
  const value = field.at("value");
  const text = value.string();
  if (text.length > 1024) value.fail("is longer than 1024 characters");
  return isRegex(field)
    ? { kind: "query", name, exact: null, regex: regexOf(value, text) }
    : { kind: "query", name, exact: text, regex: null };
}

function isRegex(field: Field): boolean {
  const type = field.at("type");
  return !type.isAbsent && type.oneOf(EXACT_OR_REGEX) === "RegularExpression";
}

/** What a proxy would refuse is refused here, where somebody reads why. */
function regexOf(field: Field, text: string): RegExp {
  try {
    return compileRegex(text);
  } catch (e) {
    return field.fail(`${errorText(e)}: ${JSON.stringify(text.slice(0, 60))}`);
  }
}

/** Of one rule of a GRPCRoute; none: every call. Expressions for names are refused, as by Linkerd. */
export function readGrpcMatches(rule: Field): readonly GrpcMatch[] {
  return rule.at("matches").list(MAX_MATCHES).map((m): GrpcMatch => {
    const method = m.at("method");
    if (isRegex(method)) {
      method.at("type").fail("is RegularExpression: only Exact names can be matched");
    }
    const name = (key: string): string => {
      const text = method.at(key).stringOr("");
      if (!/^[A-Za-z0-9_.]{0,512}$/.test(text)) {
        method.at(key).fail(`is ${JSON.stringify(text.slice(0, 60))}, not a name of gRPC`);
      }
      return text;
    };
    return {
      service: name("service"),
      method: name("method"),
      headers: m.at("headers").list(MAX_FIELDS).map(headerOf),
    };
  });
}
