// AuthorizationPolicy, MeshTLSAuthentication and NetworkAuthentication (policy.linkerd.io): who may
// reach a Server, in three objects that refer to each other.

import { isDnsLike } from "../../model/identity.ts";
import { inCidr, type Network } from "../../model/policy.ts";
import type { Field } from "../field.ts";
import type { Resource } from "../resource.ts";
import { GATEWAY_GROUP, POLICY_GROUP } from "./route-refs.ts";

export interface AuthorizationPolicyRow {
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  /** A route's group tells the two kinds of HTTPRoutes apart; a Server's is not looked at. */
  readonly target: { readonly group: string; readonly kind: string; readonly name: string };
  readonly required: readonly Ref[];
}

/** A reference to another object. */
export interface Ref {
  readonly kind: string;
  readonly name: string;
  /** Empty: that of the object that refers. */
  readonly namespace: string;
}

export interface MeshTlsRow {
  readonly namespace: string;
  readonly name: string;
  /** Exact names, `*`, or `*.suffix`. */
  readonly identities: readonly string[];
  readonly refs: readonly Ref[];
}

export interface NetworkRow {
  readonly namespace: string;
  readonly name: string;
  readonly networks: readonly Network[];
}

export function authorizationPolicyRow(r: Resource): AuthorizationPolicyRow {
  const spec = r.body.at("spec");
  const target = spec.at("targetRef");
  const kind = readKind(target, ["Server", "Namespace", "HTTPRoute", "GRPCRoute"] as const);
  const name = target.at("name").string();
  if (kind === "Namespace" && name !== r.namespace) {
    target.at("name").fail(`is ${JSON.stringify(name)}, not its own namespace ${r.namespace}`);
  }
  const group = target.at("group").stringOr("").toLowerCase();
  const groups = kind === "GRPCRoute" ? [GATEWAY_GROUP] : [POLICY_GROUP, GATEWAY_GROUP];
  if (kind.endsWith("Route") && !groups.includes(group)) {
    target.at("group").fail(
      `is ${JSON.stringify(group)}: write ${groups.join(" or ")} for a route`,
    );
  }
  const refs = spec.at("requiredAuthenticationRefs");
  if (refs.isAbsent) refs.fail("is missing");
  const required = refs.list(16).map((ref) =>
    readRef(ref, ["MeshTLSAuthentication", "NetworkAuthentication", "ServiceAccount"])
  );
  const count = (k: string) => required.filter((ref) => ref.kind === k).length;
  for (const k of ["MeshTLSAuthentication", "NetworkAuthentication", "ServiceAccount"]) {
    if (count(k) > 1) refs.fail(`names more than one ${k}`);
  }
  if (count("MeshTLSAuthentication") > 0 && count("ServiceAccount") > 0) {
    refs.fail("names both a MeshTLSAuthentication and a ServiceAccount");
  }
  return {
    namespace: r.namespace,
    name: r.name,
    createdMs: r.createdMs,
    target: { group, kind, name },
    required,
  };
}

export function meshTlsRow(r: Resource): MeshTlsRow {
  const spec = r.body.at("spec");
  const identities = spec.at("identities").list(1024).map(readIdentity);
  const refs = spec.at("identityRefs").list(1024).map((ref) =>
    readRef(ref, ["ServiceAccount", "Namespace"])
  );
  if ((identities.length === 0) === (refs.length === 0)) {
    spec.fail("needs exactly one of identities and identityRefs, with at least one element");
  }
  return { namespace: r.namespace, name: r.name, identities, refs };
}

/** SPIFFE-ID, 2.1 and 2.2: a trust domain, and segments that are neither empty nor dots. */
const SPIFFE = /^spiffe:\/\/[a-z0-9._-]+(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._-]+)*$/;

/** An exact name, `*` for any, or `*.suffix`. */
export function readIdentity(field: Field): string {
  const name = field.string();
  const bare = name === "*" ? "x" : name.replace(/^\*\./, "");
  if (!isDnsLike(bare) && !SPIFFE.test(name)) {
    field.fail(`is ${JSON.stringify(name.slice(0, 60))}, not an identity`);
  }
  return name;
}

export function networkRow(r: Resource): NetworkRow {
  const networks = readNetworks(r.body.at("spec").at("networks"));
  return { namespace: r.namespace, name: r.name, networks };
}

/** Networks with what is left out of them; at least one. */
export function readNetworks(field: Field): readonly Network[] {
  const networks = field.list(1024).map((n): Network => {
    const cidr = readCidr(n.at("cidr"));
    const except = n.at("except").list(256).map((e) => {
      const inner = readCidr(e);
      if (covers(inner, cidr)) e.fail(`leaves nothing of ${cidr}`);
      if (!covers(cidr, inner)) e.fail(`is not inside ${cidr}`);
      return inner;
    });
    return { cidr, except };
  });
  if (networks.length === 0) field.fail("is empty");
  return networks;
}

/** Whether all of `b` is in `a`; both have a prefix length. */
function covers(a: string, b: string): boolean {
  const [ip = "", bits] = b.split("/");
  return Number(bits) >= Number(a.slice(a.indexOf("/") + 1)) && inCidr(ip, a);
}

/** With its prefix length. */
function readCidr(field: Field): string {
  const text = field.string();
  const cidr = text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`;
  const ip = cidr.slice(0, cidr.indexOf("/"));
  // An address is in its own network exactly when both can be read.
  if (!inCidr(ip, cidr)) field.fail(`is ${JSON.stringify(text.slice(0, 60))}, not a network`);
  return cidr;
}

function readRef(field: Field, kinds: readonly string[]): Ref {
  const kind = readKind(field, kinds);
  const namespace = field.at("namespace");
  if (kind === "Namespace" && !namespace.isAbsent) namespace.fail("stands in one that names one");
  return { kind, name: field.at("name").string(), namespace: namespace.stringOr("") };
}

/** Of a reference; how it is spelt does not matter. A group is right or absent; routes have several. */
export function readKind<K extends string>(field: Field, kinds: readonly K[]): K {
  const given = field.at("kind");
  const kind = kinds.find((k) => k.toLowerCase() === given.string().toLowerCase()) ??
    given.oneOf(kinds);
  const wanted = kind === "ServiceAccount" || kind === "Namespace" ? "core" : POLICY_GROUP;
  const group = field.at("group").stringOr("").toLowerCase();
  if (group !== "" && group !== wanted && !kind.endsWith("Route")) {
    field.at("group").fail(`is ${JSON.stringify(group)}: write ${wanted} for a ${kind}`);
  }
  return kind;
}
