// Reads a module's sections into plain values and refuses what a filter may not contain. Looks at
// structure and features only; imports and hooks are judged in check.ts, types by the engine.

import { FilterRefused } from "../../src/core/filter.ts";
import { EXTERNREF, MANIFEST_SECTION } from "../abi.ts";
import { LINES_SECTION, readLines } from "./line-map.ts";
import { constantExpression, refuseFeature, valueType } from "./opcodes.ts";
import { Reader } from "./reader.ts";

/** Most of everything. */
export const MODULE_LIMITS = {
  moduleBytes: 2 * 1024 * 1024,
  functionBytes: 256 * 1024,
  functions: 10_000,
  locals: 10_000,
  types: 2_000,
  params: 64,
  imports: 1_000,
  exports: 1_000,
  globals: 2_000,
  segments: 4_000,
  tableEntries: 10_000,
  /** Of tables of references: what they hold is the host's memory. */
  referenceEntries: 256,
} as const;

export interface FunctionType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

export type Import =
  | {
    readonly kind: "func";
    readonly module: string;
    readonly name: string;
    readonly type: number;
    readonly at: number;
  }
  | {
    readonly kind: "global";
    readonly module: string;
    readonly name: string;
    readonly valueType: number;
    readonly isMutable: boolean;
    readonly at: number;
  };

export interface Export {
  readonly name: string;
  /** 0 function, 1 table, 2 memory, 3 global. */
  readonly kind: number;
  readonly index: number;
  readonly at: number;
}

/** A table's or memory's size. */
export interface Limits {
  readonly min: number;
  readonly max: number | null;
}

/** One function's code. */
export interface Body {
  /** Number of locals besides the parameters. */
  readonly locals: number;
  /** Groups of locals, and where they are. */
  readonly groups: number;
  readonly groupsFrom: number;
  /** First and past the last byte of the instructions, `end` included. */
  readonly from: number;
  readonly to: number;
}

/** A module taken apart. Offsets are into `bytes`. */
export interface ParsedModule {
  readonly bytes: Uint8Array;
  readonly types: readonly FunctionType[];
  readonly imports: readonly Import[];
  /** Type of each function, imported ones first. */
  readonly functions: readonly number[];
  readonly importedFunctions: number;
  readonly importedGlobals: number;
  readonly tables: readonly (Limits & { readonly type: number })[];
  readonly memory: Limits | null;
  /** Type and mutability of each global, imported ones first. */
  readonly globals: readonly { readonly type: number; readonly isMutable: boolean }[];
  readonly exports: readonly Export[];
  /** Index of the start function, or -1. */
  readonly start: number;
  readonly bodies: readonly Body[];
  /** Raw contents of sections that are copied as they are, by id. */
  readonly raw: ReadonlyMap<number, Uint8Array>;
  /** Contents of the section `name`, for stack traces. */
  readonly names: Uint8Array | null;
  readonly manifest: Uint8Array | null;
  /** The lines of its source, a copy (line-map.ts). */
  readonly lines: Uint8Array | null;
}

const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Throws `FilterRefused` with what was found, where, and what is allowed. */
export function parseModule(bytes: Uint8Array): ParsedModule {
  const { moduleBytes } = MODULE_LIMITS;
  if (bytes.length > moduleBytes) {
    throw new FilterRefused(`${bytes.length} bytes; a module may have ${moduleBytes}`);
  }
  const reader = new Reader(bytes);
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  if (bytes.length < 8 || magic.some((b, i) => bytes[i] !== b)) {
    reader.refuse("not a WebAssembly module of version 1");
  }
  reader.skip(8);
  const module: Mutable<ParsedModule> = {
    bytes,
    types: [],
    imports: [],
    functions: [],
    importedFunctions: 0,
    importedGlobals: 0,
    tables: [],
    memory: null,
    globals: [],
    exports: [],
    start: -1,
    bodies: [],
    raw: new Map(),
    names: null,
    manifest: null,
    lines: null,
  };
  let before = -1;
  while (!reader.done) {
    const at = reader.pos;
    const id = reader.byte();
    const size = reader.u32();
    const from = reader.pos;
    reader.skip(size);
    const section = new Reader(bytes, from, reader.pos);
    if (id === 0) {
      custom(section, module, at);
      continue;
    }
    if (id === 13) refuseFeature(reader, "exceptions", at);
    const place = ORDER.indexOf(id);
    if (place < 0) reader.refuse(`section ${id} is not known here`, at);
    if (place <= before) reader.refuse(`section ${id} is out of order or there twice`, at);
    before = place;
    readSection(id, section, module);
    if (!section.done) section.refuse(`section ${id} has more bytes than contents`);
  }
  if (module.functions.length - module.importedFunctions !== module.bodies.length) {
    reader.refuse("functions and their code differ in number");
  }
  return module;
}

function custom(section: Reader, module: Mutable<ParsedModule>, at: number): void {
  const name = section.name();
  const contents = section.bytes.subarray(section.pos, section.end);
  if (name === "name") module.names = contents;
  const isLines = name === LINES_SECTION;
  if (name !== MANIFEST_SECTION && !isLines) return;
  if ((isLines ? module.lines : module.manifest) !== null) {
    section.refuse(`the section "${name}" is there twice`, at);
  }
  if (!isLines) {
    module.manifest = contents;
    return;
  }
  readLines(contents); // refuses here what would be found damaged by a trap
  module.lines = contents.slice();
}

function readSection(id: number, r: Reader, module: Mutable<ParsedModule>): void {
  const L = MODULE_LIMITS;
  const many = <T>(what: string, max: number, read: () => T): T[] => {
    const items: T[] = [];
    for (let n = r.count(what, max); n > 0; n--) items.push(read());
    return items;
  };
  switch (id) {
    case 1:
      module.types = many("types", L.types, () => functionType(r));
      return;
    case 2:
      module.imports = many("imports", L.imports, () => readImport(r));
      module.functions = module.imports.flatMap((i) => i.kind === "func" ? [i.type] : []);
      module.globals = module.imports.flatMap((i) =>
        i.kind === "global" ? [{ type: i.valueType, isMutable: i.isMutable }] : []
      );
      module.importedFunctions = module.functions.length;
      module.importedGlobals = module.globals.length;
      return;
    case 3: {
      const own = many("functions", L.functions, () => r.u32());
      module.functions = [...module.functions, ...own];
      if (module.functions.some((type) => type >= module.types.length)) {
        r.refuse("a function's type does not exist");
      }
      return;
    }
    case 4:
      module.tables = many("tables", 8, () => table(r));
      return;
    case 5: {
      const at = r.pos;
      const memories = many("memories", 16, () => limits(r, "memory"));
      if (memories.length > 1) refuseFeature(r, "several memories", at);
      module.memory = memories[0] ?? null;
      return;
    }
    case 6: {
      const from = r.pos;
      const own = many("globals", L.globals, () => {
        const global = globalType(r);
        constantExpression(r);
        return global;
      });
      module.globals = [...module.globals, ...own];
      keep(module, id, r, from);
      return;
    }
    case 7:
      module.exports = many("exports", L.exports, () => readExport(r, module));
      return;
    case 8:
      module.start = r.u32();
      if (module.start >= module.functions.length) r.refuse("the start function does not exist");
      return;
    case 9: {
      const from = r.pos;
      many("element segments", L.segments, () => element(r));
      keep(module, id, r, from);
      return;
    }
    case 12: {
      const from = r.pos;
      r.u32();
      keep(module, id, r, from);
      return;
    }
    case 10:
      module.bodies = many("function bodies", L.functions, () => body(r));
      return;
    case 11: {
      const from = r.pos;
      many("data segments", L.segments, () => data(r));
      keep(module, id, r, from);
      return;
    }
  }
}

function keep(module: Mutable<ParsedModule>, id: number, r: Reader, from: number): void {
  (module.raw as Map<number, Uint8Array>).set(id, r.bytes.subarray(from, r.pos));
}

function functionType(r: Reader): FunctionType {
  const at = r.pos;
  const form = r.byte();
  if (form !== 0x60) {
    const isGc = form === 0x5f || form === 0x5e || form === 0x50 || form === 0x4f || form === 0x4e;
    if (isGc) refuseFeature(r, "garbage-collected types", at);
    r.refuse(`0x${form.toString(16)} is not a function type`, at);
  }
  const list = (what: string) => {
    const types: number[] = [];
    for (let n = r.count(what, MODULE_LIMITS.params); n > 0; n--) types.push(valueType(r));
    return types;
  };
  return { params: list("parameters"), results: list("results") };
}

function readImport(r: Reader): Import {
  const at = r.pos;
  const module = r.name();
  const name = r.name();
  const kind = r.byte();
  if (kind === 0) return { kind: "func", module, name, type: r.u32(), at };
  if (kind === 3) {
    const { type, isMutable } = globalType(r);
    return { kind: "global", module, name, valueType: type, isMutable, at };
  }
  const what = ["", "a table", "a memory"][kind] ?? "a tag";
  return r.refuse(`imports ${what} ("${module}" "${name}"); a filter brings its own`, at);
}

function globalType(r: Reader): { type: number; isMutable: boolean } {
  const type = valueType(r);
  const at = r.pos;
  const flag = r.byte();
  if (flag > 1) refuseFeature(r, "shared globals", at);
  return { type, isMutable: flag === 1 };
}

function limits(r: Reader, what: string): Limits {
  const at = r.pos;
  const flags = r.byte();
  if ((flags & 0x02) !== 0) refuseFeature(r, `shared ${what}`, at);
  if ((flags & 0x04) !== 0) refuseFeature(r, `64-bit ${what}`, at);
  if (flags > 1) refuseFeature(r, `custom ${what} sizes`, at);
  const min = r.u32();
  const max = flags === 1 ? r.u32() : null;
  if (max !== null && max < min) r.refuse(`a ${what}'s maximum is below its minimum`, at);
  return { min, max };
}

/** How large a table of this type may be. */
export function mostEntries(type: number): number {
  return type === EXTERNREF ? MODULE_LIMITS.referenceEntries : MODULE_LIMITS.tableEntries;
}

function table(r: Reader): Limits & { type: number } {
  const at = r.pos;
  const type = valueType(r);
  if (type !== 0x70 && type !== EXTERNREF) r.refuse("a table holds functions or references", at);
  const size = limits(r, "table");
  const most = mostEntries(type);
  if (size.min > most) r.refuse(`a table of ${size.min}; ${most} entries are allowed`, at);
  return { ...size, type };
}

function readExport(r: Reader, module: ParsedModule): Export {
  const at = r.pos;
  const name = r.name();
  const kind = r.byte();
  const index = r.u32();
  const there = [
    module.functions.length,
    module.tables.length,
    module.memory === null ? 0 : 1,
    module.globals.length,
  ];
  if (index >= (there[kind] ?? 0)) r.refuse(`the export "${name}" names nothing that exists`, at);
  return { name, kind, index, at };
}

function element(r: Reader): void {
  const at = r.pos;
  const flags = r.u32();
  if (flags > 7) r.refuse("an element segment of unknown form", at);
  const isActive = (flags & 1) === 0;
  if (isActive && (flags & 2) !== 0) r.u32();
  if (isActive) constantExpression(r);
  const hasExpressions = (flags & 4) !== 0;
  if ((flags & 3) !== 0) {
    if (hasExpressions) valueType(r);
    else if (r.byte() !== 0) r.refuse("an element segment of unknown kind", at);
  }
  for (let n = r.count("elements", MODULE_LIMITS.tableEntries); n > 0; n--) {
    if (hasExpressions) constantExpression(r);
    else r.u32();
  }
}

function data(r: Reader): void {
  const at = r.pos;
  const flags = r.u32();
  if (flags > 2) r.refuse("a data segment of unknown form", at);
  if (flags === 2 && r.u32() !== 0) refuseFeature(r, "several memories", at);
  if (flags !== 1) constantExpression(r);
  r.skip(r.u32());
}

function body(r: Reader): Body {
  const at = r.pos;
  const size = r.u32();
  const { functionBytes, locals: most } = MODULE_LIMITS;
  if (size > functionBytes) {
    r.refuse(`a function of ${size} bytes; ${functionBytes} are allowed`, at);
  }
  const to = r.pos + size;
  if (to > r.end) r.refuse("a function reaches past the end of its section", at);
  const inner = new Reader(r.bytes, r.pos, to);
  const groups = inner.count("groups of locals", most);
  const groupsFrom = inner.pos;
  let locals = 0;
  for (let i = 0; i < groups; i++) {
    locals += inner.u32();
    valueType(inner);
    if (locals > most) inner.refuse(`${locals} locals; ${most} are allowed`, at);
  }
  r.pos = to;
  return { locals, groups, groupsFrom, from: inner.pos, to };
}
