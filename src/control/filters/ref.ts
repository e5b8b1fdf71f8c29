// What proxies are told of a filter: an object of the mesh and the module that it runs.

import type { FilterRef } from "../../core/filter.ts";
import type { ModuleState } from "../admin/state.ts";
import type { WasmFilterRow } from "../kinds/wasm-filter.ts";

/** The reference to `module`, with the settings of `row`. */
export function refOf(
  row: WasmFilterRow,
  module: ModuleState,
  signature: Uint8Array | null,
): FilterRef {
  return {
    name: row.name,
    sha256: module.sha256,
    ...(signature === null ? {} : { signature }),
    size: module.size,
    config: row.config,
    failurePolicy: row.failurePolicy,
    fuelPerHook: row.fuelPerHook,
    memoryPages: row.memoryPages,
    ...(Object.keys(row.callouts).length === 0 ? {} : { callouts: row.callouts }),
    ...(row.cpuPercent === 0 ? {} : { cpuPercent: row.cpuPercent }),
  };
}
