// What each stretch of code costs, and where the charge goes: at function entries, loop heads, and
// before instructions that work on as much as they are told to. One walk over a function's code;
// rewrite.ts then copies it with the charges in between.

import type { Body } from "./parse.ts";
import {
  last,
  OP_BLOCK,
  OP_CALL,
  OP_CALL_INDIRECT,
  OP_END,
  OP_IF,
  OP_LOOP,
  OP_MEMORY_COPY,
  OP_MEMORY_FILL,
  OP_MEMORY_GROW,
  OP_MEMORY_INIT,
  OP_RETURN_CALL,
  OP_RETURN_CALL_INDIRECT,
  OP_TABLE_COPY,
  OP_TABLE_FILL,
  OP_TABLE_GROW,
  OP_TABLE_INIT,
  readInstruction,
} from "./opcodes.ts";
import { Reader } from "./reader.ts";

/** Instructions of a function without loops and calls that its callers pay for. */
const LEAF_MAX = 256;
const INDIRECT_CALL_COST = 64;
const GROW_COST = 4096;
const MAX_DEPTH = 512;

/** Where a charge is put in. */
export interface ChargePoint {
  /** The charge is written before this byte of the module. */
  readonly at: number;
  /** A fixed charge: index into `regions`. A charge by length: -1. */
  readonly region: number;
  /** Charge by length: the length on the stack, shifted right by this. */
  readonly shift: number;
}

/** A function's cost, before it is known which callees are leaves. */
export interface FunctionCost {
  /** Own instructions of each region; the first is the function's entry, the others its loops. */
  readonly regions: number[];
  /** Region and callee, in pairs. */
  readonly calls: number[];
  readonly points: ChargePoint[];
  readonly instructions: number;
  readonly isLeaf: boolean;
}

/** Walks one function. Refuses unknown instructions and blocks nested too deeply. */
export function scanFunction(bytes: Uint8Array, body: Body): FunctionCost {
  const reader = new Reader(bytes, body.from, body.to);
  const regions = [0];
  const calls: number[] = [];
  const points: ChargePoint[] = [{ at: body.from, region: 0, shift: 0 }];
  const stack = [0];
  let instructions = 0;
  let isLeaf = true;
  while (stack.length > 0) {
    const at = reader.pos;
    const region = stack[stack.length - 1] as number;
    const opcode = readInstruction(reader);
    instructions++;
    regions[region] = (regions[region] as number) + 1;
    const charge = (cost: number) => {
      regions[region] = (regions[region] as number) + cost;
    };
    switch (opcode) {
      case OP_BLOCK:
      case OP_IF:
        stack.push(region);
        break;
      case OP_LOOP:
        stack.push(regions.push(0) - 1);
        points.push({ at: reader.pos, region: regions.length - 1, shift: 0 });
        isLeaf = false;
        break;
      case OP_END:
        stack.pop();
        break;
      case OP_CALL:
      case OP_RETURN_CALL:
        calls.push(region, last.index);
        isLeaf = false;
        break;
      case OP_CALL_INDIRECT:
      case OP_RETURN_CALL_INDIRECT:
        charge(INDIRECT_CALL_COST);
        isLeaf = false;
        break;
      case OP_MEMORY_GROW:
      case OP_TABLE_GROW:
        charge(GROW_COST);
        isLeaf = false;
        break;
      case OP_MEMORY_INIT:
      case OP_MEMORY_COPY:
      case OP_MEMORY_FILL:
        points.push({ at, region: -1, shift: 4 });
        isLeaf = false;
        break;
      case OP_TABLE_INIT:
      case OP_TABLE_COPY:
      case OP_TABLE_FILL:
        points.push({ at, region: -1, shift: 0 });
        isLeaf = false;
        break;
    }
    if (stack.length > MAX_DEPTH) reader.refuse(`blocks nested more than ${MAX_DEPTH} deep`, at);
  }
  if (!reader.done) reader.refuse("a function has code after its end");
  return { regions, calls, points, instructions, isLeaf: isLeaf && instructions <= LEAF_MAX };
}

/** Adds what calls cost to the regions that make them. `importCost` is asked for imported functions. */
export function settleCalls(
  costs: readonly FunctionCost[],
  importedFunctions: number,
  importCost: (index: number) => number,
): void {
  for (const { regions, calls } of costs) {
    for (let i = 0; i < calls.length; i += 2) {
      const region = calls[i] as number;
      const callee = calls[i + 1] as number;
      const own = costs[callee - importedFunctions];
      const cost = callee < importedFunctions
        ? importCost(callee)
        : own?.isLeaf === true
        ? own.instructions
        : 0;
      regions[region] = (regions[region] as number) + cost;
    }
  }
}
