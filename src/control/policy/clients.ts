// Identities that objects name, as the wire has them: exact names and suffixes. Pure.

import { workloadIdentity } from "../../model/identity.ts";
import type { Authentication } from "../../model/policy.ts";
import type { Ref } from "../kinds/authorization.ts";
import type { MeshOptions } from "../options.ts";

/** `names` are exact, `*` for any, or `*.suffix`; `refs` are service accounts and whole namespaces. */
export function identityClients(
  names: readonly string[],
  refs: readonly Ref[],
  own: string,
  options: MeshOptions,
): Authentication {
  const exact: string[] = [];
  const suffixes: string[] = [];
  for (const name of names) {
    if (name === "*") suffixes.push("");
    else if (name.startsWith("*.")) suffixes.push(name.slice(2));
    else exact.push(name);
  }
  for (const ref of refs) {
    if (ref.kind === "ServiceAccount") exact.push(accountIdentity(ref, own, options));
    // A whole namespace: every service account of it.
    else {
      const { controlNamespace, trustDomain } = options;
      suffixes.push(`${ref.name}.serviceaccount.identity.${controlNamespace}.${trustDomain}`);
    }
  }
  return { kind: "identities", names: exact, suffixes };
}

/** `own`: the namespace of the object that refers, for references without one. */
export function accountIdentity(
  ref: Pick<Ref, "name" | "namespace">,
  own: string,
  options: MeshOptions,
): string {
  return workloadIdentity({
    serviceAccount: ref.name,
    namespace: ref.namespace === "" ? own : ref.namespace,
    controlPlaneNamespace: options.controlNamespace,
    trustDomain: options.trustDomain,
  });
}
