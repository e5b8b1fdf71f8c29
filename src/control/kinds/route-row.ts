// What the rows of routes have in common: an object as joins and status see it. The kinds themselves are
// read by `http-route.ts`, `grpc-route.ts` and `byte-routes.ts`.

import type { RouteFilter } from "../../model/attached-route.ts";
import type { RouteLimits, RouteRetry } from "../../model/route.ts";
import type { Field } from "../field.ts";
import type { Resource } from "../resource.ts";
import { readDurationMs } from "./quantity.ts";
import { type BackendRef, type ParentRef, readHostnames, readParents } from "./route-refs.ts";
import { CONTROLLER_NAME } from "../status/entry.ts";
import { trafficOf } from "./traffic.ts";

/** A rule as it is written. */
export interface RuleRow<Match> {
  readonly matches: readonly Match[];
  readonly filters: readonly RouteFilter[];
  readonly backends: readonly BackendRef[];
  /** Null: the parent Service's counts. */
  readonly limits: RouteLimits | null;
}

/** A route that is attached to parts of the mesh. */
export interface RouteRow<Match> {
  readonly group: string;
  readonly kind: "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute";
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  readonly parents: readonly ParentRef[];
  readonly hosts: readonly string[];
  readonly rules: readonly RuleRow<Match>[];
  /** Of all its rules; null: the parent Service's counts. */
  readonly retry: RouteRetry | null;
}

/** Rules of a route times their matches and hosts: what a proxy makes of it. */
const MAX_FLAT = 1024;

/**
 * Reads an object; null: none of its parents is the mesh's, and what it says is for others to understand.
 * If one was, and its status still says so, the row is empty, so that status is cleared.
 *
 * `readRule` reads what its kind alone has. Annotations count where it is attached to something that
 * clients go to.
 */
export function routeRow<Match>(
  r: Resource,
  kind: RouteRow<Match>["kind"],
  absentRules: readonly Field[],
  readRule: (rule: Field) => Omit<RuleRow<Match>, "limits">,
): RouteRow<Match> | null {
  const parents = readParents(r);
  const { group, namespace, name, createdMs } = r;
  const base = { group, kind, namespace, name, createdMs, parents };
  if (parents.length === 0) {
    return hasStatus(r.body) ? { ...base, hosts: [], rules: [], retry: null } : null;
  }
  const spec = r.body.at("spec");
  const { retry, grpcRetry, limits } = parents.every((p) => p.kind === "Server")
    ? { retry: null, grpcRetry: null, limits: null }
    : trafficOf(r.body.at("metadata").at("annotations"));
  const hosts = readHostnames(spec);
  const written = spec.at("rules");
  const rules = (written.isAbsent ? absentRules : written.list(64)).map((rule) => ({
    ...readRule(rule),
    limits: limitsOf(rule, limits),
  }));
  const flat = rules.reduce((sum, { matches }) => sum + Math.max(1, matches.length), 0) *
    Math.max(1, hosts.length);
  if (flat > MAX_FLAT) {
    written.fail(`has ${flat} matches, each host counted: more than ${MAX_FLAT}`);
  }
  return {
    ...{ ...base, hosts, rules },
    retry: kind === "GRPCRoute" ? grpcRetry : retry,
  };
}

/** Whether we answered to one of its parents. What else is in a status is not ours to refuse. */
function hasStatus(body: Field): boolean {
  const { parents } = (body.value as { readonly status?: { readonly parents?: unknown } }).status ??
    {};
  return Array.isArray(parents) &&
    parents.some((p: { readonly controllerName?: unknown } | null) =>
      p?.controllerName === CONTROLLER_NAME
    );
}

/**
 * The annotation's time for the whole request counts over the rule's; 0 in the rule is none (GEP-1742).
 * `backendRequest` is checked and has no place on the wire, as with Linkerd.
 */
function limitsOf(rule: Field, annotated: RouteLimits | null): RouteLimits | null {
  const ms = (name: string): number => {
    const field = rule.at("timeouts").at(name);
    return field.isAbsent ? 0 : readDurationMs(field);
  };
  const [requestMs, backendMs] = [ms("request"), ms("backendRequest")];
  if (requestMs > 0 && backendMs > requestMs) {
    rule.at("timeouts").at("backendRequest").fail("is longer than the time for the request");
  }
  if (requestMs === 0) return annotated;
  const { requestMs: own, ...rest } = annotated ?? { requestMs: 0, responseMs: 0, idleMs: 0 };
  return { requestMs: own > 0 ? own : requestMs, ...rest };
}
