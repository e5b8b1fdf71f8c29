// Filters that the wire API builds in – header modifiers, redirects, failure injectors – and local rate
// limits, read as actions of a route. For both directions and both route types.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RateLimit, RouteAction } from "../model/route-action.ts";
import type { RequestMatch } from "../model/route.ts";
import type { GrpcFailureInjector } from "./gen/grpc_route_pb.ts";
import type {
  HttpFailureInjector,
  Ratio,
  RequestHeaderModifier,
  RequestRedirect,
  ResponseHeaderModifier,
} from "./gen/http_route_pb.ts";
import type { Headers, Scheme } from "./gen/http_types_pb.ts";
import { Scheme_Registered } from "./gen/http_types_pb.ts";
import type { HttpLocalRateLimit, HttpLocalRateLimitSchema } from "./gen/inbound_pb.ts";
import { originFromWire, originToWire } from "./origin.ts";
import { shown, WireError } from "./wire-error.ts";

/** A built-in filter of any route type of either direction. */
export interface BuiltInFilter {
  readonly kind:
    | {
      readonly case: "failureInjector";
      readonly value: HttpFailureInjector | GrpcFailureInjector;
    }
    | { readonly case: "requestHeaderModifier"; readonly value: RequestHeaderModifier }
    | { readonly case: "responseHeaderModifier"; readonly value: ResponseHeaderModifier }
    | { readonly case: "redirect"; readonly value: RequestRedirect }
    | { readonly case: undefined; readonly value?: undefined };
}

/** Filters of one rule, header names of one filter. */
const MAX_ACTIONS = 32;
/** Bounds of the filters that carry them out. */
const MAX_NAMES = 64;
const MAX_OVERRIDES = 256;
const MAX_PER_SECOND = 1_000_000;
const MAX_TEXT = 2048;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/;

/**
 * In order. `match` is the condition that the actions are for: a redirect may replace the prefix in it.
 *
 * Raises a `WireError` for what is not known or breaks the reference's rules: to ignore a filter would
 * open what it closes.
 */
export function actionsFromWire(
  filters: readonly BuiltInFilter[],
  match: RequestMatch,
  field: string,
): readonly RouteAction[] {
  if (filters.length > MAX_ACTIONS) throw new WireError(field, `has more than ${MAX_ACTIONS}`);
  return filters.map(({ kind }, i): RouteAction => {
    const at = `${field}[${i}]`;
    switch (kind.case) {
      case "requestHeaderModifier":
        return headers("request-headers", kind.value, at);
      case "responseHeaderModifier":
        return headers("response-headers", kind.value, at);
      case "redirect":
        return redirect(kind.value, match, at);
      case "failureInjector":
        return fail(kind.value, at);
      default:
        throw new WireError(at, "is of a kind that is not known here");
    }
  });
}

function headers(
  kind: "request-headers" | "response-headers",
  wire: RequestHeaderModifier | ResponseHeaderModifier,
  field: string,
): RouteAction {
  if (wire.remove.length > MAX_NAMES) {
    throw new WireError(`${field}.remove`, `has more than ${MAX_NAMES} entries`);
  }
  return {
    kind,
    set: fieldsFromWire(wire.set, `${field}.set`),
    add: fieldsFromWire(wire.add, `${field}.add`),
    remove: wire.remove.map((name, i) => headerName(name, `${field}.remove[${i}]`)),
  };
}

/** A name that comes twice has both values in one, which means the same (RFC 9110 §5.3). */
function fieldsFromWire(wire: Headers | undefined, field: string): Record<string, string> {
  const fields = new Map<string, string>();
  for (const [i, { name, value }] of (wire?.headers ?? []).entries()) {
    const key = headerName(name, `${field}.headers[${i}].name`);
    const text = Array.from(value, (b) => String.fromCharCode(b)).join("");
    if (/[\0\r\n]/.test(text) || text.length > MAX_TEXT) {
      throw new WireError(`${field}.headers[${i}].value`, `${shown(text)} is not a header value`);
    }
    const before = fields.get(key);
    fields.set(key, before === undefined ? text : `${before}, ${text}`);
  }
  if (fields.size > MAX_NAMES) throw new WireError(field, `has more than ${MAX_NAMES} names`);
  return Object.fromEntries(fields);
}

function headerName(name: string, field: string): string {
  if (!TOKEN.test(name)) throw new WireError(field, `${shown(name)} is not a header name`);
  return name.toLowerCase();
}

function redirect(wire: RequestRedirect, match: RequestMatch, field: string): RouteAction {
  const { host, port, status } = wire;
  if (!/^[A-Za-z0-9._-]{0,253}$/.test(host)) {
    throw new WireError(`${field}.host`, `${shown(host)} is not a host name`);
  }
  if (port > 65_535) throw new WireError(`${field}.port`, `is ${port}`);
  // The reference's, where a message leaves it out.
  const code = status === 0 ? 301 : status;
  if (![301, 302, 303, 307, 308].includes(code)) {
    throw new WireError(`${field}.status`, `${code} is no redirection`);
  }
  return {
    kind: "redirect",
    scheme: schemeFromWire(wire.scheme, `${field}.scheme`),
    hostname: host,
    port,
    path: redirectPath(wire, match, `${field}.path`),
    status: code,
  };
}

function redirectPath(
  { path }: RequestRedirect,
  match: RequestMatch,
  field: string,
): Extract<RouteAction, { kind: "redirect" }>["path"] {
  const replace = path?.replace;
  if (replace?.case === undefined) return { replace: "nothing" };
  const by = replace.value;
  if (!/^[\x21-\x7e]*$/.test(by) || by.length > MAX_TEXT) {
    throw new WireError(`${field}.${replace.case}`, `${shown(by)} is not a path`);
  }
  // An empty path is the root's.
  if (replace.case === "full") return { replace: "full", by: by === "" ? "/" : by };
  const matched = prefixOf(match);
  if (matched === null) {
    throw new WireError(`${field}.prefix`, "stands in a rule that matches no prefix");
  }
  return { replace: "prefix", by, matched };
}

function prefixOf(match: RequestMatch): string | null {
  if (match.kind === "path-prefix") return match.prefix;
  if (match.kind !== "all") return null;
  for (const part of match.of) {
    const prefix = prefixOf(part);
    if (prefix !== null) return prefix;
  }
  return null;
}

function schemeFromWire(wire: Scheme | undefined, field: string): "" | "http" | "https" {
  const { type } = wire ?? {};
  if (type?.case === undefined) return "";
  if (type.case === "registered") {
    return type.value === Scheme_Registered.HTTPS ? "https" : "http";
  }
  const written = type.value.toLowerCase();
  if (written === "http" || written === "https") return written;
  throw new WireError(field, `${shown(type.value)} is neither http nor https`);
}

function fail(wire: HttpFailureInjector | GrpcFailureInjector, field: string): RouteAction {
  const ratio = ratioFromWire(wire.ratio, `${field}.ratio`);
  const message = wire.message.replace(/[^\x20-\x7e]/g, "?").slice(0, MAX_TEXT);
  if ("code" in wire) {
    // A code that gRPC does not have is UNKNOWN: the reference's controller sends 500.
    const grpcStatus = wire.code > 16 ? 2 : wire.code;
    return { kind: "fail", status: 200, grpcStatus, message, ratio };
  }
  if (wire.status < 200 || wire.status > 599) {
    throw new WireError(`${field}.status`, `${wire.status} is no status of a response`);
  }
  return { kind: "fail", status: wire.status, grpcStatus: null, message, ratio };
}

/** Absent: every request. */
function ratioFromWire(wire: Ratio | undefined, field: string): number {
  if (wire === undefined) return 1;
  if (wire.denominator === 0) throw new WireError(`${field}.denominator`, "is 0");
  return Math.min(1, wire.numerator / wire.denominator);
}

/** Null: there is none. */
export function rateLimitToWire(
  limit: RateLimit | null,
): MessageInitShape<typeof HttpLocalRateLimitSchema> | null {
  if (limit === null) return null;
  const perSecond = (requestsPerSecond: number) => ({ requestsPerSecond });
  const { origin } = limit;
  return {
    ...(origin === undefined ? {} : { metadata: originToWire(origin) }),
    ...(limit.total === 0 ? {} : { total: perSecond(limit.total) }),
    ...(limit.identity === 0 ? {} : { identity: perSecond(limit.identity) }),
    overrides: limit.overrides.map(({ limit, identities }) => ({
      limit: perSecond(limit),
      clients: { identities: identities.map((name) => ({ name })) },
    })),
  };
}

/** Null: there is none. What is over a million per second is cut to that. */
export function rateLimitFromWire(
  wire: HttpLocalRateLimit | undefined,
  field: string,
): RateLimit | null {
  if (wire === undefined) return null;
  const limit = (of: { readonly requestsPerSecond: number } | undefined) =>
    Math.min(of?.requestsPerSecond ?? 0, MAX_PER_SECOND);
  const overrides = wire.overrides.map((o, i) => ({
    // A limit of nothing is a mistake that would close the port; the smallest one is meant.
    limit: Math.max(1, limit(o.limit)),
    identities: (o.clients?.identities ?? []).map(({ name }) => {
      if (!/^[\x21-\x7e]{1,512}$/.test(name)) {
        throw new WireError(`${field}.overrides[${i}].clients`, `${shown(name)} is no identity`);
      }
      return name;
    }),
  }));
  if (overrides.reduce((sum, o) => sum + o.identities.length, 0) > MAX_OVERRIDES) {
    throw new WireError(`${field}.overrides`, `has more than ${MAX_OVERRIDES} identities`);
  }
  const { metadata } = wire;
  const origin = metadata?.kind.case === "resource"
    ? { origin: originFromWire(metadata, `${field}.metadata`) }
    : {};
  return { total: limit(wire.total), identity: limit(wire.identity), overrides, ...origin };
}
