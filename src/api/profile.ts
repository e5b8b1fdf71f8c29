// Profiles ↔ destination.proto `DestinationProfile`. Between `control/destination` and
// `proxy/discovery`; each message is whole.

import { create } from "@bufbuild/protobuf";
import type { Origin, Profile } from "../model/profile.ts";
import {
  DEFAULT_RETRY_BUDGET,
  PROFILE_RETRY,
  type ResponseClass,
  type RetryBudget,
  type Route,
} from "../model/route.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import { endpointFromWire, endpointToWire } from "./endpoint.ts";
import { filtersFromWire, filtersToWire } from "./filter-ref.ts";
import {
  type DestinationProfile,
  DestinationProfileSchema,
  type RetryBudget as WireRetryBudget,
  type Route as WireRoute,
  type RouteSchema,
} from "./gen/destination_pb.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { originToWire } from "./origin.ts";
import {
  requestMatchFromWire,
  requestMatchToWire,
  responseMatchFromWire,
  responseMatchToWire,
} from "./request-match.ts";
import { type OnSkip, WireError } from "./wire-error.ts";

/** Routes of one profile; more are refused as a whole. */
const MAX_ROUTES = 1024;

/** Which resources a profile was made from; null: none. */
export interface ProfileRefs {
  readonly parent: Origin | null;
  readonly profile: Origin | null;
}

/** The message for a profile. */
export function profileToWire(
  profile: Profile,
  refs: ProfileRefs = { parent: null, profile: null },
): DestinationProfile {
  const { budget, endpoint } = profile;
  return create(DestinationProfileSchema, {
    routes: profile.routes.map(routeToWire),
    retryBudget: {
      retryRatio: budget.ratio,
      minRetriesPerSecond: budget.minPerSecond,
      ttl: durationToWire(budget.ttlMs),
    },
    dstOverrides: profile.overrides.map((o) => ({ authority: o.authority, weight: o.weight })),
    opaqueProtocol: profile.opaque,
    fullyQualifiedName: profile.fullyQualifiedName,
    ...(endpoint === null ? {} : { endpoint: endpointToWire(endpoint) }),
    ...(refs.parent === null ? {} : { parentRef: originToWire(refs.parent) }),
    ...(refs.profile === null ? {} : { profileRef: originToWire(refs.profile) }),
  });
}

function routeToWire(route: Route): MessageInitShape<typeof RouteSchema> {
  const filterChain = filtersToWire(route.filters);
  return {
    condition: requestMatchToWire(route.match),
    responseClasses: route.responseClasses.map((c) => ({
      condition: responseMatchToWire(c.match),
      isFailure: c.isFailure,
    })),
    metricsLabels: { ...route.labels },
    isRetryable: route.retry !== null,
    ...(route.timeoutMs === 0 ? {} : { timeout: durationToWire(route.timeoutMs) }),
    ...(filterChain === undefined ? {} : { filterChain }),
  };
}

/**
 * The profile of a message.
 *
 * As in Linkerd, a route whose condition cannot be read, a response class likewise, and an override of
 * weight 0 are left out (told to `skip`); without a valid budget no route is retried. A filter chain
 * that cannot be read fails the whole message: what a filter guards must not open.
 */
export function profileFromWire(wire: DestinationProfile, skip: OnSkip): Profile {
  if (wire.routes.length > MAX_ROUTES) {
    throw new WireError("routes", `has ${wire.routes.length} entries, over ${MAX_ROUTES}`);
  }
  const budget = budgetFromWire(wire.retryBudget, skip);
  return {
    fullyQualifiedName: wire.fullyQualifiedName,
    opaque: wire.opaqueProtocol,
    routes: wire.routes.flatMap((route, i) => {
      const field = `routes[${i}]`;
      const filters = filtersFromWire(route.filterChain, `${field}.filter_chain`);
      return orSkip(skip, () => routeFromWire(route, filters, budget !== null, field, skip));
    }),
    budget: budget ?? DEFAULT_RETRY_BUDGET,
    overrides: wire.dstOverrides
      .filter((o) => o.weight > 0 && o.authority !== "")
      .map((o) => ({ authority: o.authority, weight: o.weight })),
    endpoint: wire.endpoint === undefined ? null : endpointFromWire(wire.endpoint, {}, "endpoint"),
  };
}

function routeFromWire(
  wire: WireRoute,
  filters: Route["filters"],
  hasBudget: boolean,
  field: string,
  skip: OnSkip,
): Route {
  return {
    name: wire.metricsLabels["route"] ?? "",
    match: requestMatchFromWire(wire.condition, `${field}.condition`),
    responseClasses: wire.responseClasses.flatMap((c, i) =>
      orSkip(skip, (): ResponseClass => ({
        match: responseMatchFromWire(c.condition, `${field}.response_classes[${i}].condition`),
        isFailure: c.isFailure,
      }))
    ),
    labels: { ...wire.metricsLabels },
    retry: wire.isRetryable && hasBudget ? PROFILE_RETRY : null,
    timeoutMs: wire.timeout === undefined ? 0 : durationFromWire(wire.timeout, `${field}.timeout`),
    filters,
  };
}

/** Null: none, or not valid, so that nothing is retried. */
function budgetFromWire(wire: WireRetryBudget | undefined, skip: OnSkip): RetryBudget | null {
  if (wire === undefined) return null;
  const [budget = null] = orSkip(skip, () => {
    const ttlMs = wire.ttl === undefined ? 0 : durationFromWire(wire.ttl, "retry_budget.ttl");
    if (ttlMs < 1000 || ttlMs > 60_000) {
      throw new WireError("retry_budget.ttl", `is ${ttlMs} ms, not in 1–60 s`);
    }
    // Also refuses NaN.
    if (!(wire.retryRatio >= 0 && wire.retryRatio <= 1000)) {
      throw new WireError("retry_budget.retry_ratio", `is ${wire.retryRatio}, not in 0–1000`);
    }
    // The wire's float is not exactly what was written: 0.2 comes as 0.20000000298.
    const ratio = Number(wire.retryRatio.toPrecision(7));
    return { ratio, minPerSecond: wire.minRetriesPerSecond, ttlMs };
  });
  return budget;
}

/** A list of one, or of none when it cannot be used. */
function orSkip<T>(skip: OnSkip, make: () => T): T[] {
  try {
    return [make()];
  } catch (e) {
    if (!(e instanceof WireError)) throw e;
    skip(e);
    return [];
  }
}
