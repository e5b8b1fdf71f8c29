// A folder of filters as the commands see it: which filters there are, how one is compiled, and where
// its build goes. Knows nothing of what a filter does.

import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, posix, relative } from "node:path";
import process from "node:process";
import { errorText } from "../core/errors.ts";
import type { CompiledFilter, FilterCompiler } from "../core/filter.ts";
import { SourceMap } from "../../wasm/host/source-map.ts";
import { CliError, EXIT_CONFIG, fileTrouble, usageError } from "./failure.ts";
import { type Flags, type FlagSpec, quote } from "./flags.ts";
import { writeOutput } from "./output.ts";
import { nearest } from "./suggest.ts";

/** Where filters are when `--filters` does not say otherwise. */
const DEFAULT_FOLDER = "filters";
/** A filter's name is that of its object in the mesh, and of its folder. */
const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const BUILDS = "build";
const DIGESTS = "digests.json";
/** More than any module that a proxy takes. */
const MAX_MODULE_BYTES = 8 * 1024 * 1024;

/** The flag that every command takes that works on filters by name. */
export const FILTERS_FLAG: FlagSpec = {
  name: "--filters",
  value: "DIR",
  summary: `The folder of the filters (${DEFAULT_FOLDER})`,
};

/** The folder that the flags name. */
export function filtersFolder(flags: Flags): string {
  return flags.text("--filters") ?? DEFAULT_FOLDER;
}

/** Checks a name that the user gave. */
export function checkName(name: string): string {
  if (NAME.test(name) && name !== BUILDS) return name;
  throw usageError(
    `${quote(name)} is no name for a filter`,
    "Take lower-case letters, digits and dashes, at most 63, such as rate-limit",
  );
}

/** The path of a filter's main source. */
export function sourceOf(folder: string, name: string): string {
  return join(folder, name, "assembly", "index.ts");
}

/** The path of a filter's build. */
export function buildOf(folder: string, name: string): string {
  return join(folder, BUILDS, `${name}.wasm`);
}

/** Names of the filters whose source is in `folder`, sorted. */
export async function filterNames(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch((e: unknown) => {
    if ((e as { code?: unknown }).code !== "ENOENT") {
      throw new CliError(`${folder} ${fileTrouble(e)}`, { exit: EXIT_CONFIG, cause: e });
    }
    throw new CliError(`There is no folder ${folder}`, {
      exit: EXIT_CONFIG,
      hint: "Make a first filter: tulle filter new NAME",
    });
  });
  return names.filter((name) => existsSync(sourceOf(folder, name))).sort();
}

/** The filters that were asked for; all of them when none was. */
export async function chosenFilters(
  folder: string,
  asked: readonly string[],
): Promise<readonly string[]> {
  const names = await filterNames(folder);
  if (names.length === 0) {
    throw new CliError(`${folder} has no filter`, {
      exit: EXIT_CONFIG,
      hint: "Make a first one: tulle filter new NAME",
    });
  }
  for (const name of asked) {
    if (names.includes(checkName(name))) continue;
    const meant = nearest(name, names);
    throw new CliError(`${sourceOf(folder, name)} does not exist`, {
      exit: EXIT_CONFIG,
      hint: meant === null ? `There are: ${names.join(", ")}` : `Did you mean ${meant}?`,
    });
  }
  return asked.length === 0 ? names : [...new Set(asked)];
}

/** Compiles a filter. Rejects with the compiler's lines, each with file, line and column. */
export async function compileFilter(
  compiler: FilterCompiler,
  folder: string,
  name: string,
): Promise<CompiledFilter> {
  const built = await compiler.compile(sourceOf(folder, name));
  if ("errors" in built) throw new CliError(built.errors.join("\n"));
  return built;
}

/** The map of a build in memory, with paths as they are seen from here. */
export function mapOf(built: CompiledFilter, folder: string, name: string): SourceMap | null {
  const entry = dirname(sourceOf(folder, name));
  return built.sourceMap === undefined
    ? null
    : SourceMap.parse(built.sourceMap, (source) => join(entry, source));
}

/** Writes module, map and digest of a filter. Resolves with the module's path. */
export async function writeBuild(
  folder: string,
  name: string,
  built: CompiledFilter,
): Promise<string> {
  const path = buildOf(folder, name);
  await writeOutput(path, built.wasm, { inNewFolder: true });
  if (built.sourceMap !== undefined) {
    await writeOutput(path + ".map", mapBeside(built.sourceMap, name) + "\n");
  }
  const digests = join(dirname(path), DIGESTS);
  const text = await readFile(digests, "utf8").catch(() => "{}");
  let known: Record<string, string>;
  try {
    known = JSON.parse(text) as Record<string, string>;
  } catch (e) {
    throw new CliError(`${digests} is not JSON: ${errorText(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
  const all = Object.entries({ ...known, [name]: built.sha256 }).sort(([a], [b]) => a < b ? -1 : 1);
  await writeOutput(digests, JSON.stringify(Object.fromEntries(all), null, 2) + "\n");
  return path;
}

/** The map's text with sources as they are seen from the folder of builds. */
function mapBeside(sourceMap: string, name: string): string {
  const map = JSON.parse(sourceMap) as { sources: readonly string[] };
  const sources = map.sources.map((source) =>
    source.startsWith("~lib/") ? source : posix.join("..", name, "assembly", source)
  );
  return JSON.stringify({ ...map, sources });
}

/** The map beside a module, with paths as they are seen from here; null when there is none to read. */
export async function readMapBeside(path: string): Promise<SourceMap | null> {
  const text = await readFile(path + ".map", "utf8").catch(() => null);
  if (text === null) return null;
  try {
    return SourceMap.parse(text, (source) => seenFromHere(join(dirname(path), source)));
  } catch (e) {
    throw new CliError(`${path}.map: ${errorText(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
}

/** A path relative to where the command was started. */
export function seenFromHere(path: string): string {
  return relative(process.cwd(), path) || path;
}

/** Reads a module that the user named. */
export async function readModule(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > MAX_MODULE_BYTES) {
      throw new CliError(`${path} has ${size} bytes: at most ${MAX_MODULE_BYTES}`, {
        exit: EXIT_CONFIG,
      });
    }
    return new Uint8Array(await readFile(path));
  } catch (e) {
    if (e instanceof CliError) throw e;
    if ((e as { code?: unknown }).code === "EISDIR") {
      throw new CliError(`${path} is a folder, not a module`, {
        exit: EXIT_CONFIG,
        hint: "tulle filter build makes modules, in filters/build",
        cause: e,
      });
    }
    throw new CliError(`${path} ${fileTrouble(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
}

/** Reads a JSON file that a flag names. */
export async function readJson(flag: string, path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (e) {
    throw new CliError(`${flag} ${path} ${fileTrouble(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
  try {
    return JSON.parse(text);
  } catch (e) {
    throw new CliError(`${flag} ${path} is not JSON: ${errorText(e)}`, {
      exit: EXIT_CONFIG,
      cause: e,
    });
  }
}

/** Refuses what is no module at all, before anything is made for it. */
export function checkModule(path: string, module: Uint8Array): void {
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  if (magic.some((byte, i) => module[i] !== byte)) {
    throw new CliError(`${path} is not a WebAssembly module`, { exit: EXIT_CONFIG });
  }
}
