// Writes a parsed module anew with bounds in it: charges of fuel, maximum sizes of memory and tables,
// hooks wrapped so that each begins with its budget, the start section as an export. Indices of
// functions, globals and types stay what they were: what is added is added at the end.

import { FilterRefused } from "../../src/core/filter.ts";
import { ABORT_MODULE, HOOK_EXPORTS, type HookName, METRIC_EXPORT, STRING_MODULE } from "../abi.ts";
import { type FunctionCost, scanFunction, settleCalls } from "./fuel.ts";
import { type Body, type Import, type Limits, mostEntries, type ParsedModule } from "./parse.ts";
import { functionName } from "./names.ts";
import type { OffsetMap } from "./source-map.ts";
import { Writer } from "./writer.ts";

/** Exports that the rewriter adds. */
export const FUEL_EXPORT = "__tulle_fuel";
export const START_EXPORT = "__tulle_start";
export const MEMORY_EXPORT = "__tulle_memory";
/** Fuel that all hooks together may still use; the host sets it, each hook takes what it used. */
export const ALLOWANCE_EXPORT = "__tulle_allowance";
/** The fuel global's value when a hook was not entered, because the allowance was used up. */
export const NOT_ENTERED = -(2 ** 31);

/** What a filter may use. */
export interface Bounds {
  /** Instructions of one hook. */
  readonly fuelPerHook: number;
  /** Instructions of start and configure together with the allocations that they make. */
  readonly fuelToStart: number;
  readonly memoryPages: number;
}

export const DEFAULT_FUEL_PER_HOOK = 1_000_000;
export const DEFAULT_FUEL_TO_START = 200_000_000;
export const DEFAULT_MEMORY_PAGES = 16;

const I32 = 0x7f;
const I32_SUB = 0x6b;
const GLOBAL_GET = 0x23;
const GLOBAL_SET = 0x24;
const LOCAL_GET = 0x20;
const LOCAL_TEE = 0x22;
const I32_CONST = 0x41;

/** A call into the host costs about as much as this many instructions; a comparison of strings more. */
const HOST_CALL_COST = 50;
const STRING_CALL_COST = 4;
const STRING_COMPARE_COST = 100;

/**
 * The module with bounds in it. Without `meter` it is only made linkable, for comparison in tests.
 * `moved` is filled with where code went.
 */
export function rewriteModule(
  module: ParsedModule,
  bounds: Bounds,
  meter = true,
  moved: OffsetMap | null = null,
): Uint8Array<ArrayBuffer> {
  const costs = meter ? module.bodies.map((body, i) => scanned(module, body, i)) : [];
  if (meter) {
    const imports = module.imports.filter((i) => i.kind === "func").map(importCost);
    settleCalls(costs, module.importedFunctions, (index) => imports[index] as number);
  }
  const fuel = module.globals.length;
  const wrapped = hooksOf(module);
  const out = new Writer();
  out.bytes(Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00));
  out.section(1, typesOf(module));
  if (module.imports.length > 0) out.section(2, importsOf(module));
  out.section(3, functionsOf(module, wrapped));
  if (module.tables.length > 0) out.section(4, tablesOf(module));
  if (module.memory !== null) out.section(5, memoryOf(module.memory, bounds.memoryPages));
  out.section(6, globalsOf(module));
  out.section(7, exportsOf(module, wrapped, fuel));
  copy(out, module, 9);
  copy(out, module, 12);
  const code = codeOf(module, costs, wrapped, fuel, bounds, moved);
  out.section(10, code);
  moved?.relativeTo(out.length - code.length);
  copy(out, module, 11);
  if (module.names !== null) {
    const names = new Writer();
    names.name("name").bytes(module.names);
    out.section(0, names);
  }
  return out.finish();
}

/** As `scanFunction`; a refusal says in which function. */
function scanned(module: ParsedModule, body: Body, i: number): FunctionCost {
  try {
    return scanFunction(module.bytes, body);
  } catch (e) {
    if (!(e instanceof FilterRefused)) throw e;
    const name = functionName(module.names, module.importedFunctions + i);
    throw new FilterRefused(`${e.message}, in function ${name}`, { cause: e });
  }
}

interface Wrapped {
  readonly exportName: string;
  readonly hook: HookName;
  readonly function: number;
}

/** The hooks that get a wrapper, in the order of their new function indices. */
function hooksOf(module: ParsedModule): Wrapped[] {
  const hooks: Wrapped[] = [];
  if (module.start >= 0) {
    hooks.push({ exportName: START_EXPORT, hook: "start", function: module.start });
  }
  for (const [hook, name] of Object.entries(HOOK_EXPORTS)) {
    const found = module.exports.find((e) => e.name === name && e.kind === 0);
    if (found !== undefined) {
      hooks.push({ exportName: name, hook: hook as HookName, function: found.index });
    }
  }
  return hooks;
}

function importCost(found: Import): number {
  // it ends the hook: what is charged for it would only be paid where it is not called
  if (found.module === ABORT_MODULE) return 0;
  if (found.module !== STRING_MODULE) return HOST_CALL_COST;
  return found.name === "equals" || found.name === "compare"
    ? STRING_COMPARE_COST
    : STRING_CALL_COST;
}

function copy(out: Writer, module: ParsedModule, id: number): void {
  const raw = module.raw.get(id);
  if (raw !== undefined) out.section(id, new Writer().bytes(raw));
}

function typesOf(module: ParsedModule): Writer {
  const w = new Writer().u32(module.types.length);
  for (const { params, results } of module.types) {
    w.byte(0x60).u32(params.length).bytes(Uint8Array.from(params));
    w.u32(results.length).bytes(Uint8Array.from(results));
  }
  return w;
}

function importsOf(module: ParsedModule): Writer {
  const w = new Writer().u32(module.imports.length);
  for (const i of module.imports) {
    w.name(i.module).name(i.name);
    if (i.kind === "func") w.byte(0).u32(i.type);
    else w.byte(3).byte(i.valueType).byte(i.isMutable ? 1 : 0);
  }
  return w;
}

function functionsOf(module: ParsedModule, wrapped: readonly Wrapped[]): Writer {
  const own = module.functions.slice(module.importedFunctions);
  const w = new Writer().u32(own.length + wrapped.length);
  for (const type of own) w.u32(type);
  for (const hook of wrapped) w.u32(module.functions[hook.function] as number);
  return w;
}

function tablesOf(module: ParsedModule): Writer {
  const w = new Writer().u32(module.tables.length);
  for (const table of module.tables) {
    const max = Math.min(table.max ?? Infinity, mostEntries(table.type));
    w.byte(table.type).byte(1).u32(table.min).u32(max);
  }
  return w;
}

function memoryOf(memory: Limits, pages: number): Writer {
  if (memory.min > pages) {
    throw new FilterRefused(
      `needs ${memory.min} pages of memory; ${pages} (${pages * 64} KiB) are allowed`,
    );
  }
  return new Writer().u32(1).byte(1).u32(memory.min).u32(Math.min(memory.max ?? pages, pages));
}

function globalsOf(module: ParsedModule): Writer {
  const own = module.globals.length - module.importedGlobals;
  const w = new Writer().u32(own + 2);
  const raw = module.raw.get(6);
  if (raw !== undefined) w.bytes(raw.subarray(lebLength(raw)));
  w.byte(I32).byte(1).byte(I32_CONST).s32(0).byte(0x0b);
  return w.byte(I32).byte(1).byte(I32_CONST).s32(2 ** 31 - 1).byte(0x0b);
}

function lebLength(raw: Uint8Array): number {
  let n = 0;
  while ((raw[n++] as number) >= 0x80);
  return n;
}

function exportsOf(module: ParsedModule, wrapped: readonly Wrapped[], fuel: number): Writer {
  const kept = module.exports.filter((e) => e.kind === 3 && e.name.startsWith(METRIC_EXPORT));
  const memory = module.memory === null ? 0 : 1;
  const w = new Writer().u32(kept.length + wrapped.length + memory + 2);
  for (const e of kept) w.name(e.name).byte(3).u32(e.index);
  wrapped.forEach((hook, i) => {
    w.name(hook.exportName).byte(0).u32(module.functions.length + i);
  });
  if (memory === 1) w.name(MEMORY_EXPORT).byte(2).u32(0);
  w.name(ALLOWANCE_EXPORT).byte(3).u32(fuel + 1);
  return w.name(FUEL_EXPORT).byte(3).u32(fuel);
}

function codeOf(
  module: ParsedModule,
  costs: readonly FunctionCost[],
  wrapped: readonly Wrapped[],
  fuel: number,
  bounds: Bounds,
  moved: OffsetMap | null,
): Writer {
  const w = new Writer().u32(module.bodies.length + wrapped.length);
  module.bodies.forEach((body, i) => {
    const cost = costs[i];
    const places: number[] = [];
    const code = cost === undefined || cost.isLeaf
      ? plainBody(module.bytes, body, places)
      : chargedBody(module, body, i, cost, fuel, places);
    w.u32(code.length);
    moved?.addBody(places, w.length);
    w.bytes(code.view());
  });
  for (const hook of wrapped) {
    const isStart = hook.hook === "start" || hook.hook === "configure";
    const code = wrapper(module, hook, fuel, isStart ? bounds.fuelToStart : bounds.fuelPerHook);
    w.u32(code.length).bytes(code.view());
  }
  return w;
}

/** Original offset and offset in what is written, in pairs, go to `places`; here and below. */
function plainBody(bytes: Uint8Array, body: Body, places: number[]): Writer {
  const w = new Writer().u32(body.groups).bytes(bytes.subarray(body.groupsFrom, body.from));
  places.push(body.from, w.length);
  w.bytes(bytes.subarray(body.from, body.to));
  places.push(body.to, w.length);
  return w;
}

function chargedBody(
  module: ParsedModule,
  body: Body,
  index: number,
  cost: FunctionCost,
  fuel: number,
  places: number[],
): Writer {
  const { bytes } = module;
  const byLength = cost.points.some((p) => p.region < 0);
  const w = new Writer().u32(body.groups + (byLength ? 1 : 0));
  w.bytes(bytes.subarray(body.groupsFrom, body.from));
  if (byLength) w.u32(1).byte(I32);
  const type = module.types[module.functions[module.importedFunctions + index] as number];
  const scratch = (type?.params.length ?? 0) + body.locals;
  let copied = body.from;
  places.push(body.from, w.length);
  for (const point of cost.points) {
    w.bytes(bytes.subarray(copied, point.at));
    copied = point.at;
    places.push(copied, w.length);
    if (point.region < 0) {
      w.byte(LOCAL_TEE).u32(scratch);
      w.byte(GLOBAL_GET).u32(fuel).byte(LOCAL_GET).u32(scratch);
      w.byte(I32_CONST).s32(point.shift).byte(0x76); // i32.shr_u
    } else {
      w.byte(GLOBAL_GET).u32(fuel);
      w.byte(I32_CONST).s32(cost.regions[point.region] as number);
    }
    w.byte(0x6b).byte(GLOBAL_SET).u32(fuel); // i32.sub
    w.byte(GLOBAL_GET).u32(fuel).byte(I32_CONST).s32(0).byte(0x48); // i32.lt_s
    w.byte(0x04).byte(0x40).byte(0x00).byte(0x0b); // if unreachable end
    places.push(copied, w.length);
  }
  w.bytes(bytes.subarray(copied, body.to));
  places.push(body.to, w.length);
  return w;
}

/**
 * Sets the budget and calls the hook with its own arguments. A hook that runs while requests do is
 * not entered without an allowance, and takes from it what it used.
 */
function wrapper(module: ParsedModule, hook: Wrapped, fuel: number, budget: number): Writer {
  const type = module.types[module.functions[hook.function] as number];
  const allowance = fuel + 1;
  const isStart = hook.hook === "start" || hook.hook === "configure";
  const w = new Writer().u32(0);
  if (!isStart) {
    w.byte(GLOBAL_GET).u32(allowance).byte(I32_CONST).s32(0).byte(0x48); // i32.lt_s
    w.byte(0x04).byte(0x40).byte(I32_CONST).s32(NOT_ENTERED).byte(GLOBAL_SET).u32(fuel);
    w.byte(0x00).byte(0x0b); // unreachable end
  }
  w.byte(I32_CONST).s32(budget).byte(GLOBAL_SET).u32(fuel);
  for (let i = 0; i < (type?.params.length ?? 0); i++) w.byte(LOCAL_GET).u32(i);
  w.byte(0x10).u32(hook.function);
  if (!isStart) {
    w.byte(GLOBAL_GET).u32(allowance).byte(I32_CONST).s32(budget).byte(GLOBAL_GET).u32(fuel);
    w.byte(I32_SUB).byte(I32_SUB).byte(GLOBAL_SET).u32(allowance);
  }
  return w.byte(0x0b);
}
