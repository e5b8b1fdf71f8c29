// References of routes (HTTPRoute, GRPCRoute of Gateway API): the parents that a route is attached to, the
// backends that its rules lead to, and its host names. Read as Linkerd's policy controller does.

import type { RouteFilter } from "../../model/attached-route.ts";
import type { Field } from "../field.ts";
import type { Resource } from "../resource.ts";

export const POLICY_GROUP = "policy.linkerd.io";
export const GATEWAY_GROUP = "gateway.networking.k8s.io";

/** A parent of a kind that a mesh has. */
export interface ParentRef {
  readonly kind: "Service" | "Server" | "EgressNetwork";
  readonly namespace: string;
  readonly name: string;
  /** 0: all ports. */
  readonly port: number;
}

/** A backend as it is written. */
export interface BackendRef {
  readonly to:
    | { readonly kind: "Service" | "EgressNetwork"; readonly port: number }
    /** Nothing that a mesh leads to, and why. */
    | { readonly kind: "invalid"; readonly message: string; readonly isKind: boolean };
  /** Empty: that of the parent. */
  readonly namespace: string;
  readonly name: string;
  readonly weight: number;
  readonly filters: readonly RouteFilter[];
}

/**
 * The parents that are the mesh's: those of other controllers, such as Gateways, are left out.
 *
 * What a reference leaves out has the default of its CRD, which the API server fills in and a folder does
 * not: the group of the route's kind, the kind Gateway.
 */
export function readParents(r: Resource): readonly ParentRef[] {
  return r.body.at("spec").at("parentRefs").list(32).flatMap((ref) => parentOf(ref, r) ?? []);
}

function parentOf(ref: Field, { group, namespace: own }: Resource): ParentRef | null {
  const refGroup = ref.at("group").stringOr(group).toLowerCase();
  const refKind = ref.at("kind").stringOr("Gateway").toLowerCase();
  const name = ref.at("name").string();
  const namespace = ref.at("namespace").stringOr(own);
  const port = ref.at("port").intOr(0, 1, 65_535);
  if (refKind === "service") {
    if (refGroup === POLICY_GROUP || refGroup === GATEWAY_GROUP) {
      ref.at("group").fail(`is ${refGroup}: write core for a Service`);
    }
    return isCore(refGroup) ? { kind: "Service", namespace, name, port } : null;
  }
  if (refGroup !== POLICY_GROUP) return null;
  if (refKind === "egressnetwork") {
    if (port === 0) ref.at("port").fail("is missing: an EgressNetwork is attached to by port");
    return { kind: "EgressNetwork", namespace, name, port };
  }
  if (refKind !== "server") return null;
  if (namespace !== own) ref.at("namespace").fail(`is ${namespace}, not the route's own`);
  if (port !== 0) ref.at("port").fail("is set, which a Server has itself");
  if (!ref.at("sectionName").isAbsent) ref.at("sectionName").fail("is set, which no Server has");
  return { kind: "Server", namespace, name, port };
}

function isCore(group: string): boolean {
  return group === "core" || group === "";
}

/**
 * A rule's backends. One that cannot be led to is kept with the reason: its share of the requests fails, as
 * the Gateway API has it.
 */
export function readBackends(
  rule: Field,
  { group }: Resource,
  readFilters: (backend: Field) => readonly RouteFilter[],
): readonly BackendRef[] {
  return rule.at("backendRefs").list(64).map((ref): BackendRef => {
    const port = ref.at("port").intOr(0, 1, 65_535);
    const refGroup = ref.at("group").stringOr("").toLowerCase();
    const refKind = ref.at("kind").stringOr("Service");
    const base = {
      name: ref.at("name").string(),
      namespace: ref.at("namespace").stringOr(""),
      weight: ref.at("weight").intOr(1, 0, 1_000_000),
      filters: readFilters(ref),
    };
    if (isCore(refGroup) && refKind.toLowerCase() === "service") {
      if (port !== 0) return { ...base, to: { kind: "Service", port } };
      // Linkerd's webhook refuses these for the Gateway API's own kinds only.
      if (group === GATEWAY_GROUP) ref.at("port").fail("is missing: a Service is led to by port");
      const message = `missing port for backend Service ${base.name}`;
      return { ...base, to: { kind: "invalid", message, isKind: true } };
    }
    if (refGroup === POLICY_GROUP && refKind.toLowerCase() === "egressnetwork") {
      return { ...base, to: { kind: "EgressNetwork", port } };
    }
    const message = `unsupported backend type ${refGroup === "" ? "core" : refGroup} ${refKind}`;
    return { ...base, to: { kind: "invalid", message, isKind: false } };
  });
}

/** Names, or `*.` and the end of names, in lower case; none: every name. */
export function readHostnames(spec: Field): readonly string[] {
  return spec.at("hostnames").list(16).map((field) => {
    const host = field.string().toLowerCase();
    if (!/^(\*\.)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(host)) {
      field.fail(`is ${JSON.stringify(host.slice(0, 60))}, not a host name, such as *.example.com`);
    }
    return host;
  });
}
