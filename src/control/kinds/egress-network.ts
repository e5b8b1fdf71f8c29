// EgressNetworks (policy.linkerd.io/v1alpha1): what is outside the cluster, and whether it may be reached
// where no route says.

import type { FailureAccrual } from "../../model/accrual.ts";
import type { Network } from "../../model/policy.ts";
import { parsePorts, type PortSet } from "../ports.ts";
import type { Resource } from "../resource.ts";
import { accrualOf } from "./accrual.ts";
import { readNetworks } from "./authorization.ts";
import { OPAQUE_PORTS } from "./service.ts";
import { type Traffic, trafficOf } from "./traffic.ts";

export interface EgressNetworkRow {
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  readonly trafficPolicy: "Allow" | "Deny";
  /** Null: everything outside the cluster's networks. */
  readonly networks: readonly Network[] | null;
  /** From the annotation; null: those that are opaque by default. */
  readonly opaquePorts: PortSet | null;
  /** When clients eject endpoints of Services that routes lead to; null: never. */
  readonly accrual: FailureAccrual | null;
  /** What clients do with requests, where no route says. */
  readonly traffic: Traffic;
}

/** Every address there is. */
export const EVERYWHERE: readonly string[] = ["0.0.0.0/0", "::/0"];

export function egressNetworkRow(r: Resource): EgressNetworkRow {
  const spec = r.body.at("spec");
  const networks = spec.at("networks");
  const annotations = r.body.at("metadata").at("annotations");
  const opaque = r.annotations[OPAQUE_PORTS];
  return {
    namespace: r.namespace,
    name: r.name,
    createdMs: r.createdMs,
    trafficPolicy: spec.at("trafficPolicy").oneOf(["Allow", "Deny"] as const),
    networks: networks.isAbsent ? null : readNetworks(networks),
    opaquePorts: opaque === undefined ? null : parsePorts(opaque),
    accrual: accrualOf(annotations),
    traffic: trafficOf(annotations),
  };
}
