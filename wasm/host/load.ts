// From a module's bytes to a compiled, bounded module: parse, judge, rewrite, compile. The only way in.

import { FilterRefused } from "../../src/core/filter.ts";
import { errorText } from "../../src/core/errors.ts";
import type { Manifest } from "../abi.ts";
import { checkBorder } from "./check.ts";
import { readManifest } from "./manifest.ts";
import { type ParsedModule, parseModule } from "./parse.ts";
import { COMPILE_OPTIONS } from "./plan.ts";
import { type Bounds, rewriteModule } from "./rewrite.ts";
import { OffsetMap } from "./source-map.ts";

/** A module that may be instantiated. */
export interface LoadedModule {
  readonly module: WebAssembly.Module;
  readonly manifest: Manifest;
  readonly parsed: ParsedModule;
  /** Where the code came from. */
  readonly moved: OffsetMap;
}

/** Throws `FilterRefused` with what was found, where, and what is allowed. */
export async function loadModule(bytes: Uint8Array, bounds: Bounds): Promise<LoadedModule> {
  const parsed = parseModule(bytes);
  const manifest = readManifest(parsed.manifest);
  checkBorder(parsed, manifest);
  const moved = new OffsetMap();
  const rewritten = rewriteModule(parsed, bounds, true, moved);
  try {
    const module = await WebAssembly.compile(rewritten, COMPILE_OPTIONS);
    return { module, manifest, parsed, moved };
  } catch (cause) {
    // the engine counts in the module that it was given
    const why = errorText(cause).replace(/ @\+(\d+)/, (_, at: string) => {
      const original = moved.toOriginal(Number(at));
      return original < 0 ? "" : ` (at byte ${original})`;
    });
    throw new FilterRefused(`is not a valid module: ${why}`, { cause });
  }
}
