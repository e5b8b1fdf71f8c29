// Compiles a filter's source to a module: AssemblyScript in memory, with the SDK's library and
// transform. For commands, the demo's watch mode and tools; never in a proxy, since the compiler
// takes a second to load. Equal sources give equal bytes, whatever the machine or the runtime.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { CompiledFilter, FilterCompiler } from "../core/filter.ts";
import type { CompilerApi } from "../../wasm/sdk/ast.ts";
import { SDK_PATH } from "../../wasm/sdk/surface.ts";
import { FilterTransform } from "../../wasm/sdk/transform.ts";
import { encodeLines, withLines } from "../../wasm/host/line-map.ts";
import { parseModule } from "../../wasm/host/parse.ts";
import { SourceMap } from "../../wasm/host/source-map.ts";
import { PACKAGE_ROOT } from "./entries.ts";

/** What is used of the package `assemblyscript/asc`. */
interface Asc {
  main(args: readonly string[], options: {
    readonly stdout: { write(text: string): void };
    readonly stderr: { write(text: string): void };
    readonly transforms: readonly unknown[];
    readFile(name: string, baseDir: string): Promise<string | null>;
    writeFile(name: string, contents: unknown): void;
    listFiles(): readonly string[];
    reportDiagnostic(diagnostic: Diagnostic): void;
  }): Promise<{ readonly error: Error | null }>;
}
interface Diagnostic {
  readonly message: string;
  /** 3: error. */
  readonly category: number;
  readonly range:
    | { readonly start: number; readonly source: { readonly normalizedPath: string } }
    | null;
}
const CATEGORY_ERROR = 3;

/** How filters are compiled. */
export interface CompilerOptions {
  /** Folder of the SDK's AssemblyScript library. */
  readonly sdkDir?: string;
  /** Goes into the manifest, so that two builds of one source differ. */
  readonly build?: string;
}

/** The whole map is written apart; a module has only the lines of its author (line-map.ts). */
const MAP_NAME = "out.wasm.map";

const FLAGS = [
  "-O3",
  "--runtime=incremental",
  "--enable=reference-types",
  "--exportStart=_initialize",
  "--debug",
  "--sourceMap=" + MAP_NAME,
  "--noColors",
];

/** A compiler. Loads AssemblyScript at the first use; compiles one filter at a time. */
export function createCompiler(options: CompilerOptions = {}): FilterCompiler {
  const sdkDir = options.sdkDir ?? join(PACKAGE_ROOT, "wasm", "sdk", "assembly");
  let last: Promise<unknown> = Promise.resolve();
  return {
    compile(entry) {
      // the compiler keeps global state while it works
      const next = last.then(() => compile(entry, sdkDir, options.build ?? ""));
      last = next.catch(() => {});
      return next;
    },
  };
}

async function compile(
  entry: string,
  sdkDir: string,
  build: string,
): Promise<CompiledFilter | { readonly errors: readonly string[] }> {
  const { asc, api } = await load();
  const baseDir = resolve(dirname(entry));
  const transform = new FilterTransform(api, build);
  const sources = new Map<string, string>();
  const errors: string[] = [];
  let wasm: Uint8Array | null = null;
  let map = "";
  let said = "";
  const keep = {
    write: (text: string) => {
      said += text;
    },
  };
  const { error } = await asc.main([basename(entry), "--outFile=out.wasm", ...FLAGS], {
    stdout: keep,
    stderr: keep,
    transforms: [transform],
    readFile: async (name) => {
      const sdk = /(?:^|\/)node_modules\/@tulle\/filter\/([a-z-]+\.ts)$/.exec(name);
      const inProject = !relative(baseDir, resolve(baseDir, name)).startsWith("..");
      if (sdk === null && !(inProject && name.endsWith(".ts"))) return null;
      const text = await readText(sdk === null ? join(baseDir, name) : join(sdkDir, sdk[1] ?? ""));
      if (text !== null) {
        sources.set(sdk === null ? name : `~lib/${SDK_PATH}/${sdk[1]}`, text);
      }
      return text;
    },
    writeFile: (name, contents) => {
      if (name === "out.wasm") wasm = contents as Uint8Array;
      if (name === MAP_NAME) map = String(contents);
    },
    listFiles: () => [],
    reportDiagnostic: (diagnostic) => {
      if (diagnostic.category !== CATEGORY_ERROR) return;
      errors.push(line(diagnostic, sources));
    },
  });
  const here = (text: string) => text.startsWith("~lib/") ? text : join(dirname(entry), text);
  if (transform.errors.length > 0) return { errors: transform.errors.map(here) };
  if (errors.length > 0) return { errors: [...new Set(errors)].map(here) };
  if (error !== null || wasm === null) {
    return { errors: [`${entry}: ${error?.message ?? said.trim()}`] };
  }
  const sourceMap = tidy(map);
  const plain = withoutMapSection(wasm);
  const lines = encodeLines(
    SourceMap.parse(sourceMap),
    parseModule(plain).bodies.map((b) => b.from),
  );
  const bytes = lines === null ? plain : withLines(plain, lines);
  return { wasm: bytes, sha256: createHash("sha256").update(bytes).digest("hex"), sourceMap };
}

/** The module without the custom section that names the map. */
function withoutMapSection(wasm: Uint8Array): Uint8Array {
  for (let from = 8, next = from; from < wasm.length; from = next) {
    next = from + 1;
    let size = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      const byte = wasm[next++] ?? 0;
      size += (byte & 0x7f) * 2 ** shift;
      more = byte >= 0x80;
    }
    const name = new TextDecoder("latin1").decode(wasm.subarray(next + 1, next + 17));
    next += size;
    if (wasm[from] !== 0 || name !== "sourceMappingURL") continue;
    const bytes = new Uint8Array(wasm.length - (next - from));
    bytes.set(wasm.subarray(0, from));
    bytes.set(wasm.subarray(next), from);
    return bytes;
  }
  throw new Error("The compiler did not name its map in the module");
}

/** The map without the sources' text; their paths are relative to the filter's main source. */
function tidy(map: string): string {
  const { version, sources, names, mappings } = JSON.parse(map) as Record<string, unknown>;
  return JSON.stringify({ version, sources, names, mappings });
}

/** `file:line:column: message`. */
function line(diagnostic: Diagnostic, sources: ReadonlyMap<string, string>): string {
  const { message, range } = diagnostic;
  if (range === null) return `?: ${message}`;
  const hint = HINTS.find(([what]) => what.test(message))?.[1] ?? "";
  const path = range.source.normalizedPath;
  const before = (sources.get(path) ?? "").slice(0, range.start).split("\n");
  return `${path}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}: ${message}${hint}`;
}

/** What to do about the compiler's words for texts of the proxy, which are references. */
const HINTS: readonly (readonly [what: RegExp, hint: string])[] = [
  [
    /^Type 'ref_extern \| null' is not assignable to type '~lib\/string\/String'/,
    " A text of the proxy is good until the hook returns; copy(…) makes a string of it.",
  ],
  [
    /^Type '~lib\/string\/String' is not assignable to type 'ref_extern \| null'/,
    " lend(…) makes a text of a string.",
  ],
  [
    /^Not implemented: Reference typed fields/,
    ". A text of the proxy is good until the hook returns: keep a string, made with copy(…)",
  ],
];

async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return null; // the compiler tries several places
  }
}

let loaded: Promise<{ asc: Asc; api: CompilerApi }> | null = null;

/** The compiler's packages. Their own types are not used: they declare globals for every file. */
function load(): Promise<{ asc: Asc; api: CompilerApi }> {
  const names = ["assemblyscript/asc", "assemblyscript"];
  loaded ??= Promise.all(names.map((name): Promise<unknown> => import(name))).then(
    ([asc, api]) => ({ asc: asc as Asc, api: api as CompilerApi }),
  );
  return loaded;
}
