// Everything that the status of objects should say, from the tables and the filter registry. Pure: called
// when something changed, by the one who writes.

import type { FilterState } from "../admin/state.ts";
import type { Cluster } from "../cluster.ts";
import type { StatusEntry } from "./entry.ts";
import { filterStatus } from "./filters.ts";
import { egressStatus, rateLimitStatus } from "./policies.ts";
import { routeStatus } from "./routes.ts";

/** The status of every object that has one. */
export function statusEntries(of: {
  readonly cluster: Cluster;
  readonly filters: readonly FilterState[];
  readonly clusterNetworks: readonly string[];
}): readonly StatusEntry[] {
  const { cluster, filters, clusterNetworks } = of;
  return [
    ...filterStatus(filters),
    ...rateLimitStatus(cluster),
    ...egressStatus(cluster, clusterNetworks),
    ...routeStatus(cluster, clusterNetworks),
  ];
}
