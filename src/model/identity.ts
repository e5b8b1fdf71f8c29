// Identity names of the mesh, as strings with rules. Who a peer is, is decided in `runtime/peer-identity.ts`.

/** `<sa>.<ns>.serviceaccount.identity.<control-plane-ns>.<trust-domain>`, as in Linkerd. */
export function workloadIdentity(of: {
  serviceAccount: string;
  namespace: string;
  controlPlaneNamespace: string;
  trustDomain: string;
}): string {
  return `${of.serviceAccount}.${of.namespace}.serviceaccount.identity.${of.controlPlaneNamespace}.${of.trustDomain}`;
}

/** True for a DNS-like name: at most 253 characters, labels of 1–63 letters, digits and inner hyphens. */
export function isDnsLike(name: string): boolean {
  const label = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/i;
  return name.length <= 253 && name.split(".").every((part) => label.test(part));
}
