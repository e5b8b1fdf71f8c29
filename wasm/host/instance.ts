// An instance of a filter's module, made, started and configured.

import { FilterRefused } from "../../src/core/filter.ts";
import { HOOK_EXPORTS } from "../abi.ts";
import { createImports } from "./hostcalls.ts";
import type { FilterPlan } from "./plan.ts";
import {
  ALLOWANCE_EXPORT,
  DEFAULT_FUEL_TO_START,
  FUEL_EXPORT,
  MEMORY_EXPORT,
  START_EXPORT,
} from "./rewrite.ts";
import { PHASE_IDLE, PHASE_START, type Situation, type World } from "./situation.ts";
import { ConfigRefusal, trapOf } from "./trap.ts";

/** A hook as JavaScript calls it. */
export type Hook = (...args: unknown[]) => number;

/** What the rewriter put into a module, and the module's own exports. */
export interface StartedInstance {
  readonly exports: WebAssembly.Exports;
  readonly fuel: WebAssembly.Global;
  readonly allowance: WebAssembly.Global;
  readonly memory: WebAssembly.Memory | null;
}

/** Throws `FilterRefused` with the reason. `at` is what the instance's host functions look at. */
export function startInstance(plan: FilterPlan, at: Situation, world: World): StartedInstance {
  let hook = "the module";
  let fuel: WebAssembly.Global | null = null;
  try {
    const { exports } = new WebAssembly.Instance(plan.module, createImports(plan, at, world));
    fuel = exports[FUEL_EXPORT] as WebAssembly.Global;
    const memory = (exports[MEMORY_EXPORT] as WebAssembly.Memory | undefined) ?? null;
    at.fuel = fuel;
    at.memory = memory;
    at.phase = PHASE_START;
    for (const name of [START_EXPORT, HOOK_EXPORTS.start, HOOK_EXPORTS.configure]) {
      hook = name === HOOK_EXPORTS.configure ? "configure" : "the start function";
      (exports[name] as Hook | undefined)?.();
    }
    at.phase = PHASE_IDLE;
    return { exports, fuel, allowance: exports[ALLOWANCE_EXPORT] as WebAssembly.Global, memory };
  } catch (thrown) {
    if (thrown instanceof ConfigRefusal) throw new FilterRefused(thrown.message);
    const left = fuel === null ? 0 : Number(fuel.value);
    throw new FilterRefused(trapOf(thrown, hook, left, DEFAULT_FUEL_TO_START, plan.places).reason);
  }
}
