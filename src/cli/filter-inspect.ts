// `tulle filter inspect`: what a module is, and whether a proxy would load it. Takes it apart as a proxy
// does; what can be read of a module that is refused is shown, too.

import { errorText } from "../core/errors.ts";
import type { ModuleInfo } from "../core/filter.ts";
import { createInspector } from "../../wasm/host/inspect.ts";
import { type ParsedModule, parseModule } from "../../wasm/host/parse.ts";
import { DEFAULT_FUEL_PER_HOOK, DEFAULT_MEMORY_PAGES } from "../../wasm/host/rewrite.ts";
import { readLines } from "../../wasm/host/line-map.ts";
import { isLibrary, positionText } from "../../wasm/host/source-map.ts";
import { calloutTargets } from "../../wasm/sdk/testing-callouts.ts";
import { TestFilter } from "../../wasm/sdk/testing-filter.ts";
import type { Command } from "./command.ts";
import { CliError, EXIT_CONFIG, EXIT_FAILURE, usageError } from "./failure.ts";
import { costOf, costText, type FilterCost } from "./filter-cost.ts";
import { readJson, readMapBeside, readModule } from "./filter-project.ts";
import { quote } from "./flags.ts";

/** Shows one module. */
export const filterInspectCommand: Command = {
  name: "inspect",
  summary: "Say what a module is, and why a proxy would refuse it",
  usage: "FILE.wasm [flags]",
  operands: { min: 1, max: 1 },
  flags: [
    {
      name: "--config",
      value: "FILE.json",
      summary: "Try it with this configuration; none by default",
    },
    {
      name: "--at",
      value: "OFFSET",
      summary: "Name the source line of this byte, such as 0x5b7 in a trap",
    },
    { name: "--json", summary: "Print one JSON document" },
  ],
  notes: [
    "Exit status 0: a proxy would load it; 1: it would not. --at reads the map beside the module, where\n" +
    "files have their whole path, or the lines that the module carries.",
  ],
  async run(flags, terminal) {
    const [path = ""] = flags.operands;
    const configPath = flags.text("--config");
    const config = configPath === null ? undefined : await readConfig(configPath);
    const place = flags.text("--at");
    if (place !== null) {
      terminal.out(await lineAt(path, place));
      return 0;
    }
    const inspection = await inspect(path, await readModule(path), config);
    if (flags.has("--json")) terminal.out(JSON.stringify(inspection, null, 2));
    else for (const line of linesOf(inspection)) terminal.out(line);
    return inspection.refused === null ? 0 : EXIT_FAILURE;
  },
};

/** What is known of a module. */
interface Inspection {
  readonly file: string;
  readonly size: number;
  /** Why a proxy refuses it; null: it loads it. */
  readonly refused: string | null;
  readonly info: ModuleInfo | null;
  /** Services that it asks; the object names them. */
  readonly callouts: readonly string[];
  readonly imports: readonly string[];
  readonly memoryPages: { readonly min: number; readonly max: number | null } | null;
  readonly functions: number;
  readonly limits: { readonly fuelPerHook: number; readonly memoryPages: number };
  readonly cost: FilterCost | null;
}

async function inspect(
  file: string,
  module: Uint8Array,
  config: object | undefined,
): Promise<Inspection> {
  const map = await readMapBeside(file);
  let parsed: ParsedModule | null = null;
  let info: ModuleInfo | null = null;
  let refused: string | null = null;
  try {
    parsed = parseModule(module);
    info = await createInspector().inspect(module);
    // starts and configures an instance, which a proxy does before it serves
    await TestFilter.open(module, config === undefined ? {} : { config }, map);
  } catch (e) {
    refused = errorText(e);
  }
  return {
    file,
    size: module.length,
    refused,
    info,
    callouts: Object.keys(calloutTargets(module)),
    imports: parsed === null ? [] : importsOf(parsed),
    memoryPages: parsed?.memory ?? null,
    functions: parsed?.bodies.length ?? 0,
    limits: { fuelPerHook: DEFAULT_FUEL_PER_HOOK, memoryPages: DEFAULT_MEMORY_PAGES },
    cost: refused === null ? await costOf(module, config, map) : null,
  };
}

function importsOf({ imports }: ParsedModule): readonly string[] {
  const constants = imports.filter((i) => i.kind === "global").length;
  const functions = imports.filter((i) => i.kind === "func").map((i) => `${i.module} ${i.name}`);
  return constants === 0 ? functions : [...functions, `${constants} string constants`];
}

function linesOf(of: Inspection): readonly string[] {
  const { info, memoryPages, limits } = of;
  const list = (items: readonly string[] = []) => items.length === 0 ? "none" : items.join(", ");
  const rows: (readonly [string, string])[] = [["size", `${of.size} bytes`]];
  if (info !== null) {
    rows.unshift(["abi", info.abi], ["sha256", info.sha256]);
    rows.push(["hooks", list(info.hooks)]);
    rows.push(["reads", list(info.headersRead)], ["writes", list(info.headersWritten)]);
    if (of.callouts.length > 0) rows.push(["asks", list(of.callouts)]);
    rows.push(["metrics", list(info.metrics.map(metricText))]);
  }
  rows.push(["imports", list(of.imports)]);
  const memory = memoryPages === null
    ? "no memory"
    : `memory ${memoryPages.min} of ${limits.memoryPages} pages`;
  rows.push(["limits", `${memory}, ${of.functions} functions, fuel ${limits.fuelPerHook} a hook`]);
  if (of.cost !== null) rows.push(["cost", costText(of.cost)]);
  rows.push(
    of.refused === null ? ["verdict", "a proxy loads it"] : ["verdict", `refused: ${of.refused}`],
  );
  return [of.file, ...rows.map(([name, value]) => `  ${name.padEnd(8)} ${value}`)];
}

function metricText({ name, kind, labels }: ModuleInfo["metrics"][number]): string {
  return `${kind} filter_${name}${labels.length === 0 ? "" : `{${labels.join(", ")}}`}`;
}

/** `file:line:column` of a byte of the module. */
async function lineAt(path: string, text: string): Promise<string> {
  if (!/^(0x[0-9a-f]{1,8}|\d{1,9})$/i.test(text)) {
    throw usageError(`--at ${quote(text)} is not an offset such as 0x5b7`);
  }
  const offset = Number(text);
  const { bodies, lines } = parseModule(await readModule(path));
  const body = bodies.find((b) => b.from <= offset && offset < b.to);
  if (body === undefined) throw new CliError(`Byte ${text} of ${path} is in no function`);
  const map = await readMapBeside(path) ?? (lines === null ? null : readLines(lines));
  if (map === null) {
    throw new CliError(`${path} carries no lines, and ${path}.map does not exist`, {
      exit: EXIT_CONFIG,
      hint: "tulle filter build writes both",
    });
  }
  const position = map.locate(offset, body.from);
  return position === null || isLibrary(position.source)
    ? `byte ${text}: no line is known`
    : positionText(position);
}

async function readConfig(path: string): Promise<object> {
  const value = await readJson("--config", path);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new CliError(`--config ${path} is not a JSON object`, { exit: EXIT_CONFIG });
}
