// Looks at a module without running it; for the registry and the CLI.

import type { ModuleInfo, ModuleInspector } from "../../src/core/filter.ts";
import { sha256Hex } from "./digest.ts";
import { loadModule } from "./load.ts";
import { describe } from "./plan.ts";
import { DEFAULT_FUEL_PER_HOOK, DEFAULT_FUEL_TO_START, DEFAULT_MEMORY_PAGES } from "./rewrite.ts";

/** An inspector: says what a proxy would load, or throws `FilterRefused` as a proxy would. */
export function createInspector(): ModuleInspector {
  return {
    async inspect(bytes: Uint8Array): Promise<ModuleInfo> {
      const { manifest, parsed } = await loadModule(bytes, {
        fuelPerHook: DEFAULT_FUEL_PER_HOOK,
        fuelToStart: DEFAULT_FUEL_TO_START,
        memoryPages: DEFAULT_MEMORY_PAGES,
      });
      return describe(manifest, parsed.exports, await sha256Hex(bytes), bytes.length, null);
    },
  };
}
