// The functions that a filter imports. Each checks what it was given against the manifest and the
// phase; a filter that does what it may not is stopped with a named reason. None of them calls back
// into the filter, and none throws anything but a `HostTrap` or a `ConfigRefusal`.

import { HOST_MODULE } from "../abi.ts";
import { createGuard } from "./guard.ts";
import { bodyFunctions } from "./hostcalls-body.ts";
import { headFunctions } from "./hostcalls-head.ts";
import { worldFunctions } from "./hostcalls-world.ts";
import type { FilterPlan } from "./plan.ts";
import type { Situation, World } from "./situation.ts";
import { HostTrap } from "./trap.ts";

/** The import object of one instance. */
export function createImports(plan: FilterPlan, at: Situation, world: World): WebAssembly.Imports {
  const guard = createGuard(plan, at);
  return {
    [HOST_MODULE]: {
      ...headFunctions(plan, at, guard),
      ...bodyFunctions(plan, at, guard),
      ...worldFunctions(plan, at, world, guard),
    },
    env: {
      abort: (message: number, file: number, line: number, column: number) => {
        const text = guestText(at.memory, message) || "abort";
        const place = guestText(at.memory, file);
        throw new HostTrap(place === "" ? text : `${text} at ${place}:${line}:${column}`);
      },
    },
  };
}

/** A string of AssemblyScript: UTF-16 at `pointer`, its length in bytes before it. */
function guestText(memory: WebAssembly.Memory | null, pointer: number): string {
  const at = pointer >>> 0;
  if (memory === null || at < 4 || at > memory.buffer.byteLength) return "";
  const view = new DataView(memory.buffer);
  const bytes = Math.min(view.getUint32(at - 4, true), 400, memory.buffer.byteLength - at) & ~1;
  let text = "";
  for (let i = 0; i < bytes; i += 2) text += String.fromCharCode(view.getUint16(at + i, true));
  return text;
}
