// ServiceProfiles (linkerd.io/v1alpha2): routes, budget and split of a Service, named by its full name.

import { compileRegex } from "../../api/regex.ts";
import { errorText } from "../../core/errors.ts";
import {
  DEFAULT_RETRY_BUDGET,
  PROFILE_RETRY,
  type RequestMatch,
  type ResponseClass,
  type ResponseMatch,
  type RetryBudget,
  type RouteRetry,
} from "../../model/route.ts";
import type { Field } from "../field.ts";
import { parsePorts, type PortSet } from "../ports.ts";
import type { Resource } from "../resource.ts";
import { readDurationMs, readQuantity } from "./quantity.ts";

export interface ServiceProfileRow {
  readonly namespace: string;
  /** `web.shop.svc.cluster.local`. */
  readonly name: string;
  readonly routes: readonly ProfileRoute[];
  readonly budget: RetryBudget;
  /** Weights in tenths of a thousandth, as they go on the wire. */
  readonly overrides: readonly { readonly authority: string; readonly weight: number }[];
  /** Null: the Service's own list counts. */
  readonly opaquePorts: PortSet | null;
}

export interface ProfileRoute {
  readonly name: string;
  readonly match: RequestMatch;
  readonly responseClasses: readonly ResponseClass[];
  readonly retry: RouteRetry | null;
  /** 0: none. */
  readonly timeoutMs: number;
}

const MAX_DEPTH = 16;

export function serviceProfileRow(r: Resource): ServiceProfileRow {
  const spec = r.body.at("spec");
  const opaque = spec.at("opaquePorts").list(1024);
  return {
    namespace: r.namespace,
    name: r.name,
    routes: spec.at("routes").list(1024).map(readRoute),
    budget: readBudget(spec.at("retryBudget")),
    overrides: spec.at("dstOverrides").list(64).map((o) => ({
      authority: o.at("authority").string(),
      weight: Math.round(readQuantity(o.at("weight")) * 10_000),
    })),
    opaquePorts: spec.at("opaquePorts").isAbsent
      ? null
      : parsePorts(opaque.map((p) => p.string()).join(",")),
  };
}

function readRoute(route: Field): ProfileRoute {
  const timeout = route.at("timeout");
  const condition = route.at("condition");
  return {
    name: route.at("name").string(),
    match: readRequestMatch(condition, 0),
    responseClasses: route.at("responseClasses").list(64).map((c) => ({
      match: readResponseMatch(c.at("condition"), 0),
      isFailure: c.at("isFailure").boolOr(false),
    })),
    retry: route.at("isRetryable").boolOr(false) ? PROFILE_RETRY : null,
    timeoutMs: timeout.isAbsent ? 0 : readDurationMs(timeout),
  };
}

function readBudget(field: Field): RetryBudget {
  if (field.isAbsent) return DEFAULT_RETRY_BUDGET;
  const ttl = field.at("ttl");
  const ttlMs = readDurationMs(ttl);
  // Proxies take no other; said here, where somebody reads it.
  if (ttlMs < 1000 || ttlMs > 60_000) ttl.fail("is not between 1s and 60s");
  return {
    ratio: field.at("retryRatio").number(0, 1000),
    minPerSecond: field.at("minRetriesPerSecond").int(0, 2 ** 31 - 1),
    ttlMs,
  };
}

/** Several fields in one condition must all hold. */
function readRequestMatch(field: Field, depth: number): RequestMatch {
  if (field.isAbsent) field.fail("is missing");
  if (depth > MAX_DEPTH) field.fail(`is nested deeper than ${MAX_DEPTH}`);
  const parts: RequestMatch[] = [];
  for (const kind of ["all", "any"] as const) {
    const list = field.at(kind);
    if (list.isAbsent) continue;
    parts.push({ kind, of: list.list(256).map((m) => readRequestMatch(m, depth + 1)) });
  }
  const not = field.at("not");
  if (!not.isAbsent) parts.push({ kind: "not", of: readRequestMatch(not, depth + 1) });
  const path = field.at("pathRegex");
  if (!path.isAbsent) parts.push({ kind: "path-regex", regex: readRegex(path) });
  const method = field.at("method");
  if (!method.isAbsent) {
    const name = method.string();
    if (!/^[A-Z]{1,32}$/.test(name)) method.fail("is not a method, such as GET");
    parts.push({ kind: "method", method: name });
  }
  const [only, ...more] = parts;
  if (only === undefined) return field.fail("is empty: set pathRegex, method, all, any or not");
  return more.length === 0 ? only : { kind: "all", of: parts };
}

function readRegex(field: Field): RegExp {
  try {
    return compileRegex(field.string());
  } catch (e) {
    return field.fail(errorText(e));
  }
}

function readResponseMatch(field: Field, depth: number): ResponseMatch {
  if (field.isAbsent) field.fail("is missing");
  if (depth > MAX_DEPTH) field.fail(`is nested deeper than ${MAX_DEPTH}`);
  const parts: ResponseMatch[] = [];
  for (const kind of ["all", "any"] as const) {
    const list = field.at(kind);
    if (list.isAbsent) continue;
    parts.push({ kind, of: list.list(256).map((m) => readResponseMatch(m, depth + 1)) });
  }
  const not = field.at("not");
  if (!not.isAbsent) parts.push({ kind: "not", of: readResponseMatch(not, depth + 1) });
  const status = field.at("status");
  if (!status.isAbsent) {
    const [least, most] = [status.at("min"), status.at("max")];
    // One alone means exactly that status.
    const min = (least.isAbsent ? most : least).int(100, 599);
    const max = (most.isAbsent ? least : most).int(100, 599);
    if (min > max) status.fail(`min ${min} is over max ${max}`);
    parts.push({ kind: "status", range: { min, max } });
  }
  const [only, ...more] = parts;
  if (only === undefined) return field.fail("is empty: set status, all, any or not");
  return more.length === 0 ? only : { kind: "all", of: parts };
}
