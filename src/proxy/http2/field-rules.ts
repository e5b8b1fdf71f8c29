// What a field's name means to this codec, and what its value may be (RFC 9113 §8.2 and §8.3, RFC 7541
// §7.1.3): asked once for a field of a table, once a head for one that comes as a literal.

import {
  allOf,
  AUTHORITY,
  CLASS,
  decimal,
  is,
  isSpace,
  LOWER_TOKEN,
  METHOD,
  TARGET,
  VALUE,
} from "./field-bytes.ts";

/** Kinds of names, from `kindOf`. Those from `PSEUDO` on are pseudo-headers. */
export const PLAIN = 0;
/** Not a name, an unknown pseudo-header, or what HTTP/2 has no use for (§8.2.2). */
export const FORBIDDEN = 1;
/** `l5d-…`: between proxies. */
export const MESH = 2;
/** Of one hop, and harmless. */
export const HOP = 3;
export const TE = 4;
export const HOST = 5;
export const COOKIE = 6;
export const EXPECT = 7;
export const LENGTH = 8;
export const PSEUDO = 9;
export const METHOD_NAME = 9;
export const SCHEME_NAME = 10;
export const PATH_NAME = 11;
export const AUTHORITY_NAME = 12;
export const PROTOCOL_NAME = 13;
export const STATUS_NAME = 14;

/** How a field is sent: kept in the table, not kept, or marked so that no hop ever keeps it. */
export const INDEX = 0;
export const NO_INDEX = 1;
export const NEVER_INDEX = 2;

/** Longest authority: a name of DNS and a port. */
export const MAX_AUTHORITY = 260;
const MAX_METHOD = 64;
const MAX_PROTOCOL = 64;

/** Kind and way of a name, in one number. */
export type Rule = number;

/** The kind that a rule says. */
export function kindOf(rule: Rule): number {
  return rule & 15;
}

/** How a field of that name is sent when nobody before us said it. */
export function wayOf(rule: Rule): number {
  return rule >> 4;
}

interface Named {
  readonly text: string;
  readonly rule: Rule;
}

/** By the length of the name. */
const NAMES: (readonly Named[])[] = [];
for (
  const [text, kind, way] of [
    [":method", METHOD_NAME, INDEX],
    [":scheme", SCHEME_NAME, INDEX],
    [":path", PATH_NAME, NO_INDEX],
    [":authority", AUTHORITY_NAME, INDEX],
    [":protocol", PROTOCOL_NAME, INDEX],
    [":status", STATUS_NAME, INDEX],
    ["te", TE, INDEX],
    ["host", HOST, INDEX],
    ["expect", EXPECT, INDEX],
    ["trailer", HOP, INDEX],
    ["proxy-authorization", HOP, NEVER_INDEX],
    ["connection", FORBIDDEN, INDEX],
    ["keep-alive", FORBIDDEN, INDEX],
    ["proxy-connection", FORBIDDEN, INDEX],
    ["transfer-encoding", FORBIDDEN, INDEX],
    ["upgrade", FORBIDDEN, INDEX],
    // secrets
    ["authorization", PLAIN, NEVER_INDEX],
    ["cookie", COOKIE, NEVER_INDEX],
    ["set-cookie", PLAIN, NEVER_INDEX],
    // hardly ever the same twice
    ["content-length", LENGTH, NO_INDEX],
    ["age", PLAIN, NO_INDEX],
    ["etag", PLAIN, NO_INDEX],
    ["if-modified-since", PLAIN, NO_INDEX],
    ["if-none-match", PLAIN, NO_INDEX],
    ["last-modified", PLAIN, NO_INDEX],
    ["location", PLAIN, NO_INDEX],
    ["traceparent", PLAIN, NO_INDEX],
    ["x-request-id", PLAIN, NO_INDEX],
  ] as const
) {
  NAMES[text.length] = [...(NAMES[text.length] ?? []), { text, rule: kind | (way << 4) }];
}
for (let length = 0; length < 20; length++) NAMES[length] ??= [];

/** The rule of the name `buf[from..to)`, which must be in lower case. */
export function ruleOf(buf: Uint8Array, from: number, to: number): Rule {
  const length = to - from;
  if (length < NAMES.length) {
    const named = NAMES[length] as readonly Named[];
    for (let i = 0; i < named.length; i++) {
      const one = named[i] as Named;
      if (is(buf, from, to, one.text)) return one.rule;
    }
  }
  if (length === 0 || !allOf(buf, from, to, LOWER_TOKEN)) return FORBIDDEN; // upper case too (§8.2.1)
  return length > 4 && is(buf, from, from + 4, "l5d-") ? MESH : PLAIN;
}

/** Whether the value may stand in a field of that kind, whatever else the message has. */
export function fits(kind: number, buf: Uint8Array, from: number, to: number): boolean {
  const length = to - from;
  switch (kind) {
    case FORBIDDEN:
      return false;
    case METHOD_NAME:
      return length > 0 && length <= MAX_METHOD && allOf(buf, from, to, METHOD);
    case SCHEME_NAME:
      return is(buf, from, to, "http") || is(buf, from, to, "https");
    case PATH_NAME:
      return length > 0 && allOf(buf, from, to, TARGET) &&
        (buf[from] === 47 || (length === 1 && buf[from] === 42));
    case AUTHORITY_NAME:
      return length > 0 && length <= MAX_AUTHORITY && allOf(buf, from, to, AUTHORITY);
    case PROTOCOL_NAME:
      return length > 0 && length <= MAX_PROTOCOL && isProtocol(buf, from, to);
    case STATUS_NAME: {
      const status = length === 3 ? decimal(buf, from, to) : 0;
      return status >= 100 && status !== 101; // no upgrades in HTTP/2 (§8.6)
    }
    default:
      if (length > 0 && (isSpace(buf[from]) || isSpace(buf[to - 1]))) return false;
      return allOf(buf, from, to, VALUE);
  }
}

/** A token, perhaps with a version: what the registry of HTTP Upgrade tokens has. */
function isProtocol(buf: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const c = buf[i] as number;
    if (((CLASS[c] as number) & METHOD) === 0 && c !== 47) return false;
  }
  return true;
}
