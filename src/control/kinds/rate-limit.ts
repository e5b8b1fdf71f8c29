// HTTPLocalRateLimitPolicy (policy.linkerd.io/v1alpha1): how many requests a Server takes in a second.

import type { Field } from "../field.ts";
import type { Resource } from "../resource.ts";
import { readKind } from "./authorization.ts";

export interface RateLimitRow {
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  readonly server: string;
  /** Requests per second; 0: no such limit. */
  readonly total: number;
  readonly identity: number;
  readonly overrides: readonly RateLimitOverride[];
}

export interface RateLimitOverride {
  readonly limit: number;
  /** Service accounts; an empty namespace is that of the policy. */
  readonly clients: readonly { readonly name: string; readonly namespace: string }[];
}

const MAX_PER_SECOND = 0xffff_ffff;

export function rateLimitRow(r: Resource): RateLimitRow {
  const spec = r.body.at("spec");
  const target = spec.at("targetRef");
  readKind(target, ["Server"]);
  const total = limitOf(spec.at("total"));
  const within = (field: Field): number => {
    const limit = limitOf(field);
    if (total > 0 && limit > total) field.fail(`is over the total of ${total}`);
    return limit;
  };
  return {
    namespace: r.namespace,
    name: r.name,
    createdMs: r.createdMs,
    server: target.at("name").string(),
    total,
    identity: within(spec.at("identity")),
    overrides: spec.at("overrides").list(256).map((field): RateLimitOverride => {
      const refs = field.at("clientRefs");
      const clients = refs.list(256).map((ref) => {
        readKind(ref, ["ServiceAccount"]);
        return { name: ref.at("name").string(), namespace: ref.at("namespace").stringOr("") };
      });
      if (clients.length === 0) refs.fail("names nobody");
      return { limit: within(field), clients };
    }),
  };
}

/** 0: absent. */
function limitOf(field: Field): number {
  return field.isAbsent ? 0 : field.at("requestsPerSecond").int(1, MAX_PER_SECOND);
}
