// The status of policies that are attached to something, with the reasons that Linkerd's policy
// controller gives: rate limits of Servers, egress networks.

import type { Cluster } from "../cluster.ts";
import type { EgressNetworkRow } from "../kinds/egress-network.ts";
import { byAge, keyOf } from "../resource.ts";
import { accepted, type Condition, notAccepted, type StatusEntry } from "./entry.ts";
import { overlap } from "./overlap.ts";

/** One entry for each HTTPLocalRateLimitPolicy: of several for one Server, the oldest is in force. */
export function rateLimitStatus(cluster: Cluster): StatusEntry[] {
  return [...cluster.rateLimits.rows.values()].map((row) => {
    const server = keyOf({ namespace: row.namespace, name: row.server });
    const [first] = [...cluster.rateLimits.group(`server ${server}`)].sort(byAge);
    const condition = cluster.servers.get(server) === null
      ? notAccepted("NoMatchingTarget")
      : first?.name === row.name
      ? accepted()
      : notAccepted("RateLimitReasonAlreadyExists", `${first?.name} is older`);
    return {
      kind: "policy.linkerd.io/HTTPLocalRateLimitPolicy",
      namespace: row.namespace,
      name: row.name,
      status: {
        conditions: [condition],
        targetRef: { group: "policy.linkerd.io", kind: "Server", name: row.server },
      },
    };
  });
}

/** One entry for each EgressNetwork. */
export function egressStatus(cluster: Cluster, clusterNetworks: readonly string[]): StatusEntry[] {
  return [...cluster.egressNetworks.rows.values()].map((row) => ({
    kind: "policy.linkerd.io/EgressNetwork",
    namespace: row.namespace,
    name: row.name,
    status: { conditions: [egressCondition(row, clusterNetworks)] },
  }));
}

/** Whether an egress network is in force: what is inside the cluster is not egress. */
export function egressCondition(
  row: EgressNetworkRow,
  clusterNetworks: readonly string[],
): Condition {
  const inside = row.networks?.some((n) => clusterNetworks.some((c) => overlap(n, c))) ?? false;
  return inside
    ? notAccepted("EgressReasonNetworkOverlap", "networks overlap with clusterNetworks")
    : accepted();
}
