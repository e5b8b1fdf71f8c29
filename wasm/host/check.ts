// Judges a parsed module against the ABI: what it imports, by module, name and type, and the types of
// its hooks.

import { FilterRefused } from "../../src/core/filter.ts";
import {
  ABORT_MODULE,
  ABORT_NAME,
  ABORT_TYPE,
  type BorderType,
  CONSTANT_MODULE,
  EXTERNREF,
  HOOK_EXPORTS,
  HOOK_TYPES,
  type HookName,
  HOST_IMPORTS,
  HOST_MODULE,
  type Manifest,
  METRIC_EXPORT,
  STRING_IMPORTS,
  STRING_MODULE,
} from "../abi.ts";
import type { FunctionType, Import, ParsedModule } from "./parse.ts";

const TYPE_NAMES: Readonly<Record<number, string>> = {
  0x7f: "i32",
  0x7e: "i64",
  0x7d: "f32",
  0x7c: "f64",
  0x7b: "v128",
  0x70: "funcref",
  0x6f: "externref",
};

function typeText(type: BorderType | undefined): string {
  const list = (types: readonly number[] = []) => types.map((t) => TYPE_NAMES[t] ?? "?").join(", ");
  return `(${list(type?.params)}) -> (${list(type?.results)})`;
}

function sameType(a: FunctionType | undefined, b: BorderType): boolean {
  return a !== undefined && typeText(a) === typeText(b);
}

/** Throws `FilterRefused` for the first import or hook that the ABI does not have. */
export function checkBorder(module: ParsedModule, manifest: Manifest): void {
  for (const i of module.imports) checkImport(module, i);
  for (const [hook, name] of Object.entries(HOOK_EXPORTS)) {
    const found = module.exports.find((e) => e.name === name);
    if (found === undefined) continue;
    const base = HOOK_TYPES[hook as HookName];
    const slots = hook === "request" || hook === "response" ? manifest.params[hook].length : 0;
    const expected = { ...base, params: [...base.params, ...Array(slots).fill(EXTERNREF)] };
    const type = module.types[module.functions[found.index] as number];
    if (found.kind !== 0 || !sameType(type, expected)) {
      const is = found.kind === 0 ? typeText(type) : "not a function";
      throw new FilterRefused(`the hook "${name}" is ${is}, expected ${typeText(expected)}`);
    }
  }
  if (module.start >= 0) {
    const type = module.types[module.functions[module.start] as number];
    if (!sameType(type, HOOK_TYPES.start)) {
      throw new FilterRefused(`the start function is ${typeText(type)}, expected () -> ()`);
    }
  }
  const ticks = module.exports.some((e) => e.name === HOOK_EXPORTS.tick);
  if (ticks !== (manifest.tickMs !== undefined)) {
    throw new FilterRefused(`"${HOOK_EXPORTS.tick}" and tickMs of the manifest need each other`);
  }
  const calls = (manifest.callouts?.length ?? 0) > 0;
  if (calls !== module.exports.some((e) => e.name === HOOK_EXPORTS.callout)) {
    throw new FilterRefused(
      `"${HOOK_EXPORTS.callout}" and callouts of the manifest need each other`,
    );
  }
  for (const [hook, head] of [["requestBody", "request"], ["responseBody", "response"]] as const) {
    const has = module.exports.some((e) => e.name === HOOK_EXPORTS[hook]);
    if (has !== (manifest.bodies?.[head] !== undefined)) {
      throw new FilterRefused(
        `"${HOOK_EXPORTS[hook]}" and bodies.${head} of the manifest need each other`,
      );
    }
    if (has && module.memory === null) {
      throw new FilterRefused(`"${HOOK_EXPORTS[hook]}" needs a memory for the body`);
    }
  }
  manifest.metrics.forEach((metric, i) => {
    const found = module.exports.find((e) => e.name === `${METRIC_EXPORT}${i}`);
    const isAddress = found?.kind === 3 && module.globals[found.index]?.type === 0x7f;
    if (!isAddress || module.memory === null) {
      throw new FilterRefused(
        `the metric "${metric.name}" has no address: export a global i32 "${METRIC_EXPORT}${i}"`,
      );
    }
  });
}

function checkImport(module: ParsedModule, i: Import): void {
  const what = `imports "${i.module}" "${i.name}"`;
  const refuse = (why: string): never => {
    throw new FilterRefused(`${what}: ${why} (at byte ${i.at})`);
  };
  if (i.module === CONSTANT_MODULE) {
    const isConstant = i.kind === "global" && i.valueType === EXTERNREF && !i.isMutable;
    if (!isConstant) refuse("a string constant is an immutable global externref");
    return;
  }
  if (i.kind !== "func") return refuse("only functions and string constants may be imported");
  const expected = i.module === HOST_MODULE && Object.hasOwn(HOST_IMPORTS, i.name)
    ? HOST_IMPORTS[i.name]
    : i.module === STRING_MODULE && Object.hasOwn(STRING_IMPORTS, i.name)
    ? STRING_IMPORTS[i.name]
    : i.module === ABORT_MODULE && i.name === ABORT_NAME
    ? ABORT_TYPE
    : undefined;
  if (expected === undefined) {
    const names = i.module === STRING_MODULE ? STRING_IMPORTS : HOST_IMPORTS;
    return refuse(
      `not allowed; from "${i.module === STRING_MODULE ? STRING_MODULE : HOST_MODULE}" there are ` +
        Object.keys(names).join(", "),
    );
  }
  const type = module.types[i.type];
  if (!sameType(type, expected)) {
    refuse(`is declared as ${typeText(type)}, it is ${typeText(expected)}`);
  }
}
