// Filters of routes (Gateway API) that the wire has a place for: header changes and redirects. Others are
// refused by name, since to leave one out would serve what it should have changed.

import type { RouteFilter, RouteRedirect } from "../../model/attached-route.ts";
import type { HeaderAction } from "../../model/route-action.ts";
import type { Field } from "../field.ts";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/;
const MAX_FILTERS = 16;

/** Those of an HTTPRoute. */
const HTTP_TYPES = ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect"] as const;
/** Those of a GRPCRoute: the wire has no other. */
const GRPC_TYPES = ["RequestHeaderModifier"] as const;

/** The filters of a rule of an HTTPRoute, or of one of its backends, in order. */
export function readHttpFilters(of: Field): readonly RouteFilter[] {
  return readFilters(of, HTTP_TYPES);
}

/** The same of a GRPCRoute. */
export function readGrpcFilters(of: Field): readonly RouteFilter[] {
  return readFilters(of, GRPC_TYPES);
}

function readFilters(
  of: Field,
  known: readonly (typeof HTTP_TYPES)[number][],
): readonly RouteFilter[] {
  return of.at("filters").list(MAX_FILTERS).map((filter): RouteFilter => {
    const type = filter.at("type");
    const name = known.find((k) => k === type.string());
    switch (name) {
      case "RequestHeaderModifier":
        return headers("request-headers", filter.at("requestHeaderModifier"));
      case "ResponseHeaderModifier":
        return headers("response-headers", filter.at("responseHeaderModifier"));
      case "RequestRedirect":
        return redirect(filter.at("requestRedirect"));
      default:
        return type.fail(
          `is ${JSON.stringify(type.string().slice(0, 60))}: only ${
            known.join(", ")
          } can be carried out`,
        );
    }
  });
}

function headers(kind: HeaderAction["kind"], field: Field): HeaderAction {
  if (field.isAbsent) field.fail("is missing");
  return {
    kind,
    set: fields(field.at("set")),
    add: fields(field.at("add")),
    remove: field.at("remove").list(64).map((name) => headerName(name)),
  };
}

/** By name in lower case. A name that comes twice: the first counts, as the Gateway API has it. */
function fields(list: Field): Readonly<Record<string, string>> {
  const out = new Map<string, string>();
  for (const field of list.list(64)) {
    const name = headerName(field.at("name"));
    const value = headerValue(field.at("value"));
    if (!out.has(name)) out.set(name, value);
  }
  return Object.fromEntries(out);
}

/** In lower case. */
export function headerName(field: Field): string {
  const name = field.string();
  if (!TOKEN.test(name)) {
    field.fail(`is ${JSON.stringify(name.slice(0, 60))}, not a header name`);
  }
  return name.toLowerCase();
}

/** One line of ASCII: what a request carries unchanged. */
export function headerValue(field: Field): string {
  const value = field.string();
  if (!/^[\t\x20-\x7e]{0,2048}$/.test(value)) {
    field.fail("is not a header value: at most 2048 printable ASCII characters");
  }
  return value;
}

function redirect(field: Field): RouteRedirect {
  if (field.isAbsent) field.fail("is missing");
  const scheme = field.at("scheme");
  const hostname = field.at("hostname");
  const host = hostname.stringOr("");
  if (!/^[A-Za-z0-9._-]{0,253}$/.test(host)) {
    hostname.fail(`is ${JSON.stringify(host.slice(0, 60))}, not a host name`);
  }
  const status = field.at("statusCode").intOr(302, 300, 399);
  if (![301, 302, 303, 307, 308].includes(status)) {
    field.at("statusCode").fail(`is ${status}, not one of 301, 302, 303, 307, 308`);
  }
  return {
    kind: "redirect",
    scheme: scheme.isAbsent ? "" : scheme.oneOf(["http", "https"] as const),
    hostname: host,
    port: field.at("port").intOr(0, 1, 65_535),
    path: redirectPath(field.at("path")),
    status,
  };
}

function redirectPath(path: Field): RouteRedirect["path"] {
  if (path.isAbsent) return null;
  const type = path.at("type").oneOf(["ReplaceFullPath", "ReplacePrefixMatch"] as const);
  const full = type === "ReplaceFullPath";
  const by = path.at(full ? "replaceFullPath" : "replacePrefixMatch");
  const text = by.stringOr("");
  if (!/^[\x21-\x7e]{0,2048}$/.test(text)) by.fail("is not a path");
  return { replace: full ? "full" : "prefix", by: text };
}
