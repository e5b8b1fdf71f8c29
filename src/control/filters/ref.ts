// What proxies are told of a filter: an object of the mesh and the module that it runs.

import type { FilterRef } from "../../core/filter.ts";
import type { ModuleState } from "../admin/state.ts";
import type { WasmFilterRow } from "../kinds/wasm-filter.ts";

/** An object and a module that were good together. */
export interface Served {
  readonly row: WasmFilterRow;
  readonly module: ModuleState;
  readonly signature: Uint8Array | null;
}

/** The reference to the module, with the object's settings. */
export function refOf({ row, module, signature }: Served): FilterRef {
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
