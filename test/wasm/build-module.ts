// Small modules made by hand, byte by byte, for what the compiler would never write.

import { ABI, type Manifest, MANIFEST_SECTION } from "../../wasm/abi.ts";
import { Writer } from "../../wasm/host/writer.ts";

/** A manifest that declares nothing. */
export const EMPTY: Manifest = {
  abi: ABI,
  headers: [],
  reads: { request: [], response: [] },
  writes: { request: [], response: [] },
  params: { request: [], response: [] },
  keepsRequest: false,
  edits: [],
  config: [],
  metrics: [],
};

export const I32 = 0x7f;
export const F64 = 0x7c;
export const OUTCOME_TYPE = { params: [I32, I32, I32, F64], results: [I32] };

/** What a module is made of; each section's contents are bytes. */
export interface Parts {
  readonly types?: readonly {
    readonly params: readonly number[];
    readonly results: readonly number[];
  }[];
  /** Module, name, then kind and type as bytes. */
  readonly imports?: readonly (readonly [module: string, name: string, rest: readonly number[]])[];
  /** Type of each function. */
  readonly functions?: readonly number[];
  readonly tables?: readonly (readonly number[])[];
  /** Limits of each memory. */
  readonly memories?: readonly (readonly number[])[];
  readonly globals?: readonly (readonly number[])[];
  /** Name, kind, index. */
  readonly exports?: readonly (readonly [name: string, kind: number, index: number])[];
  readonly start?: number;
  /** Locals as bytes, then instructions without the last `end`. */
  readonly bodies?: readonly (readonly number[])[];
  readonly manifest?: unknown;
  /** Further sections, at the end. */
  readonly extra?: readonly (readonly [id: number, contents: readonly number[]])[];
}

/** The bytes of a module. */
export function buildModule(parts: Parts): Uint8Array<ArrayBuffer> {
  const out = new Writer().bytes(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const vec = <T>(
    id: number,
    items: readonly T[] | undefined,
    write: (w: Writer, item: T) => void,
  ) => {
    if (items === undefined) return;
    const w = new Writer().u32(items.length);
    for (const item of items) write(w, item);
    out.section(id, w);
  };
  const raw = (w: Writer, bytes: readonly number[]) => void w.bytes(Uint8Array.from(bytes));
  vec(1, parts.types, (w, t) => {
    w.byte(0x60).u32(t.params.length);
    raw(w, t.params);
    w.u32(t.results.length);
    raw(w, t.results);
  });
  vec(2, parts.imports, (w, [module, name, rest]) => {
    w.name(module).name(name);
    raw(w, rest);
  });
  vec(3, parts.functions, (w, type) => void w.u32(type));
  vec(4, parts.tables, raw);
  vec(5, parts.memories, raw);
  vec(6, parts.globals, raw);
  vec(7, parts.exports, (w, [name, kind, index]) => void w.name(name).byte(kind).u32(index));
  if (parts.start !== undefined) out.section(8, new Writer().u32(parts.start));
  vec(10, parts.bodies, (w, body) => {
    w.u32(body.length + 1);
    raw(w, body);
    w.byte(0x0b);
  });
  for (const [id, contents] of parts.extra ?? []) {
    const w = new Writer();
    raw(w, contents);
    out.section(id, w);
  }
  if (parts.manifest !== null) {
    const json = new TextEncoder().encode(JSON.stringify(parts.manifest ?? EMPTY));
    out.section(0, new Writer().name(MANIFEST_SECTION).bytes(json));
  }
  return out.finish();
}

/** A module whose `onOutcome` has `body`: locals, then instructions without the last `end`. */
export function outcomeModule(body: readonly number[], more: Parts = {}): Uint8Array<ArrayBuffer> {
  return buildModule({
    types: [OUTCOME_TYPE],
    functions: [0],
    memories: [[0, 1]],
    exports: [["tulle_on_outcome", 0, 0]],
    bodies: [body],
    ...more,
  });
}
