// EgressNetworks (policy.linkerd.io/v1alpha1): what is outside the cluster, and whether it may be reached
// where no route says.

import type { Network } from "../../model/policy.ts";
import type { Resource } from "../resource.ts";
import { readNetworks } from "./authorization.ts";

export interface EgressNetworkRow {
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  readonly trafficPolicy: "Allow" | "Deny";
  /** Null: everything outside the cluster's networks. */
  readonly networks: readonly Network[] | null;
}

export function egressNetworkRow(r: Resource): EgressNetworkRow {
  const spec = r.body.at("spec");
  const networks = spec.at("networks");
  return {
    namespace: r.namespace,
    name: r.name,
    createdMs: r.createdMs,
    trafficPolicy: spec.at("trafficPolicy").oneOf(["Allow", "Deny"] as const),
    networks: networks.isAbsent ? null : readNetworks(networks),
  };
}
