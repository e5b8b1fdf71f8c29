// Filters that the proxy carries: what a route of the wire API asks for without naming a filter is
// decided by one of them. This file says which, in which order, and with what configuration;
// `route-chains.ts` runs them.

import type { FilterRef } from "../../core/filter.ts";
import type { Authorization } from "../../model/policy.ts";
import type {
  FailAction,
  RateLimitAction,
  RedirectAction,
  RouteAction,
} from "../../model/route-action.ts";
import { isFailure, type Route, type RouteRetry, type StatusRange } from "../../model/route.ts";

/** A module that came with the proxy, and its digest. */
export interface CarriedModule {
  readonly sha256: string;
  readonly bytes: Uint8Array;
}

/** The folders of `filters/` whose modules a proxy carries. */
export const STANDARD_FILTERS = [
  "failure-injector",
  "header-modifier",
  "local-rate-limit",
  "redirect",
  "retry",
  "route-policy",
  "timeout",
] as const;
export type StandardName = typeof STANDARD_FILTERS[number];

/**
 * The modules that came with the proxy. One that could not be read is null or absent: then nothing is
 * retried or timed out, and what must not be left undone is refused (503).
 */
export type StandardModules = Readonly<Partial<Record<StandardName, CarriedModule | null>>>;

/** A proxy without any, for tests and the static one. */
export const NO_STANDARD_MODULES: StandardModules = {};

/** A filter of ours. */
export interface StandardFilter {
  readonly ref: FilterRef;
  /** It runs before the filters that the route names; else after them. */
  readonly first: boolean;
  /** The name of a hook in a module's manifest: it gives way to a filter of the route's with that. */
  readonly unlessHook: string | null;
}

/**
 * What a route needs beside the filters that it names: who may use it, how often, the wire's own filters
 * in their order, time-outs; then, after the named ones, retries. Target rate.
 */
export function standardFilters(route: Route, modules: StandardModules): readonly StandardFilter[] {
  const { retry, actions = [] } = route;
  const names = new Map<string, number>();
  const first = actions.map((action): StandardFilter => {
    const { name, module, config } = actionFilter(action);
    const before = names.get(name) ?? 0;
    names.set(name, before + 1);
    const unique = before === 0 ? name : `${name}-${before + 1}`;
    // To leave out what the wire asks for would open what it closes.
    const ref = standardRef(unique, modules[module] ?? MISSING, config, "closed");
    return { ref, first: true, unlessHook: null };
  });
  const timeouts = timeoutConfig(route);
  if (timeouts !== null && modules.timeout) {
    // Before the named filters, of which the last one's word counts.
    const ref = standardRef("standard-timeout", modules.timeout, timeouts, "open");
    first.push({ ref, first: true, unlessHook: null });
  }
  const wanted = retry ?? (route.takesRequestHeaders === true ? IF_ASKED : null);
  if (wanted === null || !modules.retry) return first;
  // Without it the request goes on, as it would have without retries.
  const ref = standardRef("standard-retry", modules.retry, retryConfig(route, wanted), "open");
  return [...first, { ref, first: false, unlessHook: "outcome" }];
}

/** Retries of a route that has none but lets requests ask for them. */
const IF_ASKED: RouteRetry = {
  statuses: [],
  maxRetries: 0,
  attemptTimeoutMs: 0,
  backoff: { minMs: 25, maxMs: 250, jitter: 1 },
};

/** The configuration of `filters/timeout`; null: the route has no time-outs. */
function timeoutConfig({ timeoutMs, limits, takesRequestHeaders = false }: Route): object | null {
  const { requestMs = 0, responseMs = 0, idleMs = 0 } = limits ?? {};
  if (timeoutMs + requestMs + responseMs + idleMs === 0 && !takesRequestHeaders) return null;
  return {
    requestMs: wholeMs(timeoutMs),
    exchangeMs: wholeMs(requestMs),
    responseMs: wholeMs(responseMs),
    idleMs: wholeMs(idleMs),
    requestHeaders: takesRequestHeaders,
  };
}

/** The wire's durations have nanoseconds and no bound; the filter's have neither. */
function wholeMs(ms: number): number {
  return Math.min(Math.ceil(ms), 2_147_483_647);
}

/** A digest that no module has, so that the filter is never there and its failure policy decides. */
const MISSING: CarriedModule = { sha256: "0".repeat(64), bytes: new Uint8Array() };

interface ActionFilter {
  readonly name: string;
  readonly module: StandardName;
  readonly config: object;
}

function actionFilter(action: RouteAction): ActionFilter {
  switch (action.kind) {
    case "request-headers":
      return headerFilter({
        requestSet: action.set,
        requestAdd: action.add,
        requestRemove: action.remove,
      });
    case "response-headers":
      return headerFilter({
        responseSet: action.set,
        responseAdd: action.add,
        responseRemove: action.remove,
      });
    case "redirect":
      return { name: "standard-redirect", module: "redirect", config: redirectConfig(action) };
    case "fail":
      return {
        name: "standard-failure-injector",
        module: "failure-injector",
        config: failConfig(action),
      };
    case "authorize":
      return {
        name: "standard-route-policy",
        module: "route-policy",
        config: { allow: action.allow },
      };
    case "rate-limit":
      return {
        // Its buckets are apart for each name.
        name: `standard-rate-limit-${action.scope}`,
        module: "local-rate-limit",
        config: rateLimitConfig(action),
      };
  }
}

function headerFilter(config: object): ActionFilter {
  return { name: "standard-header-modifier", module: "header-modifier", config };
}

function redirectConfig({ scheme, hostname, port, path, status }: RedirectAction) {
  return {
    scheme,
    hostname,
    port,
    status,
    ...(path.replace === "full" ? { replaceFullPath: path.by } : {}),
    ...(path.replace === "prefix"
      ? { replacesPrefix: true, replacePrefixMatch: path.by, matchedPrefix: path.matched }
      : {}),
  };
}

function failConfig({ status, grpcStatus, message, ratio }: FailAction) {
  return { status, ...(grpcStatus === null ? {} : { grpcStatus }), message, ratio };
}

function rateLimitConfig({ total, identity, overrides }: RateLimitAction) {
  return {
    requestsPerSecond: total,
    identityRequestsPerSecond: identity,
    overrides: overrides.flatMap(({ limit, identities }, i) =>
      identities.map((name) => `${i} ${limit} ${name}`)
    ),
  };
}

/** Rules of `filters/route-policy` that permit what the authorizations permit. */
export function accessRules(authorizations: readonly Authorization[]): readonly string[] {
  return authorizations.flatMap(({ networks, authentication }) => {
    // A mesh client always has an identity here: proxies take no others.
    const ids = authentication.kind === "unauthenticated"
      ? []
      : authentication.kind === "mesh-tls-unauthenticated"
      ? ["id:*"]
      : [
        ...authentication.names.map((name) => `id:${name}`),
        ...authentication.suffixes.map((s) => s === "" ? "id:*" : `id:*.${s}`),
      ];
    // Identities of nobody permit nobody; without one the rule would hold for all.
    if (authentication.kind === "identities" && ids.length === 0) return [];
    return networks.map(({ cidr, except }) =>
      [`net:${cidr}`, ...except.map((e) => `not:${e}`), ...ids].join(" ")
    );
  });
}

/** The configuration of `filters/retry`. */
function retryConfig(route: Route, retry: RouteRetry) {
  return {
    statuses: (retry.statuses ?? failuresOf(route)).map(rangeText).join(","),
    grpc: retry.grpc ?? [],
    maxRetries: retry.maxRetries,
    attemptTimeoutMs: retry.attemptTimeoutMs,
    backoffMs: retry.backoff.minMs,
    maxBackoffMs: retry.backoff.maxMs,
    jitter: retry.backoff.jitter,
    // The route says that it may be retried; nothing is left to guess from the method.
    anyMethod: true,
    ...(route.takesRequestHeaders === true ? { requestHeaders: true } : {}),
  };
}

/** The statuses that the route's classes call failures, as ranges. */
function failuresOf({ responseClasses }: Route): readonly StatusRange[] {
  const ranges: { min: number; max: number }[] = [];
  for (let status = 100; status <= 599; status++) {
    if (!isFailure(status, responseClasses)) continue;
    const last = ranges.at(-1);
    if (last?.max === status - 1) last.max = status;
    else ranges.push({ min: status, max: status });
  }
  return ranges;
}

function rangeText({ min, max }: StatusRange): string {
  return min === max ? String(min) : `${min}-${max}`;
}

function standardRef(
  name: string,
  { sha256, bytes }: CarriedModule,
  config: object,
  failurePolicy: FilterRef["failurePolicy"],
): FilterRef {
  return {
    name,
    sha256,
    size: bytes.length,
    config: new TextEncoder().encode(JSON.stringify(config)),
    failurePolicy,
    fuelPerHook: 0,
    memoryPages: 0,
    // They are the proxy's own: a share of the time would refuse requests of a busy route.
    cpuPercent: 100,
  };
}
