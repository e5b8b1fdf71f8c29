// What every join needs: the tables, the mesh's options, and which filters run where.

import type { FilterRef } from "../core/filter.ts";
import type { Cluster } from "./cluster.ts";
import type { FilterTargetKind } from "./kinds/wasm-filter.ts";
import type { MeshOptions } from "./options.ts";

/** What filters may be for. */
export interface FilterTarget {
  readonly kind: FilterTargetKind;
  readonly namespace: string;
  readonly name: string;
}

/** Says which filters run for a target, in order. `filters/registry.ts` does. */
export interface FilterSource {
  /** `route` is a ServiceProfile route's name, or that of an HTTPRoute or GRPCRoute; null: only filters
   * that are for all requests. */
  refs(target: FilterTarget, route: string | null): readonly FilterRef[];
}

export interface Mesh {
  readonly cluster: Cluster;
  readonly options: MeshOptions;
  readonly filters: FilterSource;
}

/** Where there are no filters. For tests. */
export const NO_FILTER_SOURCE: FilterSource = { refs: () => [] };
