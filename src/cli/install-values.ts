// The values of an installation from defaults, `--ha`, files and `--set`, in this order, each winning
// over those before. What is not known is refused with the nearest name.

import { readFile, stat } from "node:fs/promises";
import { parse } from "yaml";
import { errorText } from "../core/errors.ts";
import { inCidr } from "../model/policy.ts";
import { DEFAULT_VALUES, HA_OVERRIDES, type Values } from "../install/values.ts";
import { VALUE_ALIASES, VALUE_DOCS } from "../install/value-docs.ts";
import { CliError, EXIT_CONFIG, fileTrouble, usageError } from "./failure.ts";
import { type Flags, quote } from "./flags.ts";
import { nearest } from "./suggest.ts";

type Tree = { [key: string]: unknown };

const MAX_FILE_BYTES = 1024 * 1024;

/** What was chosen, and what of it is not a default. */
export interface ChosenValues {
  readonly values: Values;
  /** As YAML-compatible JSON, for `upgrade`. */
  readonly overrides: string;
}

/**
 * Reads files and flags. `stored` are the overrides of an installation that is upgraded; `ha` says that
 * `--ha` is given.
 */
export async function chooseValues(
  flags: Flags,
  stored: unknown = {},
  ha = false,
): Promise<ChosenValues> {
  let overrides: Tree = {};
  const take = (more: Tree, where: string) => {
    overrides = merge(overrides, checked(more, DEFAULT_VALUES, [], where));
  };
  if (!isTree(stored)) throw new CliError("The stored values are no object");
  take(stored, "stored values: ");
  if (ha) take(HA_OVERRIDES as unknown as Tree, "");
  for (const path of flags.all("--values")) {
    const more = await readValues(path);
    try {
      take(more, `--values ${path}: `);
    } catch (e) {
      // what is wrong is the file, not the command line
      if (!(e instanceof CliError)) throw e;
      throw new CliError(e.message, { exit: EXIT_CONFIG, hint: e.hint });
    }
  }
  for (const [flag, text] of setFlags(flags)) {
    for (const assignment of splitTop(text)) {
      const cut = assignment.indexOf("=");
      if (cut <= 0) throw usageError(`${flag} ${quote(assignment)} is not KEY=VALUE`);
      const key = assignment.slice(0, cut).trim();
      const given = assignment.slice(cut + 1);
      const value = flag === "--set-file"
        ? await readText("--set-file", given)
        : flag === "--set-string"
        ? given
        : scalar(given, key);
      take(treeOf(key.split("."), value), `${flag} ${key}: `);
    }
  }
  const values = merge(structuredClone(DEFAULT_VALUES) as unknown as Tree, overrides);
  // a trust domain that nobody chose is the cluster's
  if (overrides.identityTrustDomain === undefined) {
    values.identityTrustDomain = values.clusterDomain;
  }
  const chosen = values as unknown as Values;
  if (chosen.proxyInit.closeWaitTimeoutSecs > 0 && !chosen.proxyInit.runAsRoot) {
    throw usageError("proxyInit.closeWaitTimeoutSecs needs proxyInit.runAsRoot=true");
  }
  const stray = chosen.policyController.probeNetworks.find((n) => !isNetwork(n));
  if (stray !== undefined) {
    throw usageError(`policyController.probeNetworks ${quote(String(stray))} is no network`);
  }
  return { values: chosen, overrides: JSON.stringify(overrides, null, 2) + "\n" };
}

function isNetwork(cidr: unknown): boolean {
  return typeof cidr === "string" && cidr.includes("/") && inCidr(cidr.replace(/\/.*$/, ""), cidr);
}

/** The flags that change values, in the order of their kinds. */
function setFlags(flags: Flags): (readonly [string, string])[] {
  return ["--set", "--set-string", "--set-file"].flatMap((name) =>
    flags.all(name).map((text) => [name, text] as const)
  );
}

/** At commas that are not escaped and not inside of braces. */
function splitTop(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? "";
    if (c === "\\" && i + 1 < text.length) {
      part += text[++i];
      continue;
    }
    if (c === "{") depth++;
    if (c === "}") depth--;
    if (c === "," && depth <= 0) {
      parts.push(part);
      part = "";
    } else part += c;
  }
  return [...parts, part].filter((p) => p !== "");
}

/** Helm's rules: `true`, `false`, `null` and whole numbers are what they look like; `{a,b}` is a list. */
function scalar(text: string, key: string): unknown {
  if (typeof at(DEFAULT_VALUES, key) === "string") return text;
  if (text === "true" || text === "false") return text === "true";
  if (/^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?$/.test(text)) return Number(text);
  if (/^\{.*\}$/.test(text)) return splitTop(text.slice(1, -1)).map((p) => p.trim());
  return text;
}

function treeOf(path: readonly string[], value: unknown): Tree {
  const [key = "", ...rest] = path;
  return { [key]: rest.length === 0 ? value : treeOf(rest, value) };
}

/** A copy of `tree` with aliases replaced; throws for what is no value. */
function checked(
  tree: Tree,
  defaults: unknown,
  path: readonly string[],
  where: string,
): Tree {
  const out: Tree = {};
  for (const [key, value] of Object.entries(tree)) {
    const name = [...path, key].join(".");
    const alias = Object.hasOwn(VALUE_ALIASES, name) ? VALUE_ALIASES[name] : undefined;
    if (alias !== undefined) {
      const target = checked(treeOf(alias.split("."), value), DEFAULT_VALUES, [], where);
      const below = path.reduce<unknown>((at, part) => isTree(at) ? at[part] : {}, target);
      Object.assign(out, merge(out, below as Tree));
      continue;
    }
    const known = isTree(defaults) && Object.hasOwn(defaults, key) ? defaults[key] : undefined;
    if (known === undefined) throw unknown(where, name);
    if (isTree(known)) {
      if (!isTree(value)) throw usageError(`${where}${name} is a group, not a value`);
      out[key] = checked(value, known, [...path, key], where);
      continue;
    }
    out[key] = fitting(known, value, name, where);
  }
  return out;
}

function fitting(known: unknown, value: unknown, name: string, where: string): unknown {
  const allowed = VALUE_DOCS[name]?.oneOf;
  if (allowed !== undefined && !allowed.includes(String(value))) {
    throw usageError(`${where}${name} ${quote(String(value))} is not one of ${allowed.join(", ")}`);
  }
  const is = Array.isArray(value) ? "list" : typeof value;
  const wanted = Array.isArray(known) ? "list" : typeof known;
  if (typeof value === "number" && is === wanted) {
    const [least, most] = /^proxy\.ports\./.test(name)
      ? [1, 65_535]
      : name === "controllerReplicas"
      ? [1, 100]
      : [-Infinity, Infinity];
    if (value < least || value > most || (least > 0 && !Number.isInteger(value))) {
      throw usageError(`${where}${name} ${value} is not a whole number from ${least} to ${most}`);
    }
  }
  if (is === wanted) return value;
  if (wanted === "string" && (is === "number" || is === "boolean")) return String(value);
  const given = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  throw usageError(`${where}${name} ${quote(given)} is no ${wanted}`);
}

function unknown(where: string, name: string): CliError {
  const known = [...leaves(DEFAULT_VALUES as unknown as Tree), ...Object.keys(VALUE_ALIASES)];
  const meant = nearest(name, known) ??
    known.find((k) => k.split(".").at(-1) === name.split(".").at(-1)) ?? null;
  return usageError(
    `${where}there is no value ${quote(name)}`,
    meant === null ? "k8s/chart/values.yaml lists them" : `Did you mean ${meant}?`,
  );
}

/** Paths of everything that is no group. */
export function leaves(tree: Tree, path: readonly string[] = []): string[] {
  return Object.entries(tree).flatMap(([key, value]) =>
    isTree(value) ? leaves(value, [...path, key]) : [[...path, key].join(".")]
  );
}

function at(tree: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>(
    (of, key) => isTree(of) && Object.hasOwn(of, key) ? of[key] : undefined,
    tree,
  );
}

function merge(into: Tree, from: Tree): Tree {
  const out: Tree = { ...into };
  for (const [key, value] of Object.entries(from)) {
    const before = out[key];
    out[key] = isTree(before) && isTree(value) ? merge(before, value) : value;
  }
  return out;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function readValues(path: string): Promise<Tree> {
  let value: unknown;
  try {
    value = parse(await readText("--values", path), { maxAliasCount: 100 });
  } catch (e) {
    if (e instanceof CliError) throw e;
    throw new CliError(`--values ${path} is not YAML: ${errorText(e).split("\n")[0]}`, {
      exit: EXIT_CONFIG,
    });
  }
  if (value === null || value === undefined) return {};
  if (!isTree(value)) {
    throw new CliError(`--values ${path} has no values at its top`, { exit: EXIT_CONFIG });
  }
  return value;
}

/** A file that a flag names, bounded. */
export async function readText(flag: string, path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw new Error(`it has over ${MAX_FILE_BYTES} bytes`);
    return await readFile(path, "utf8");
  } catch (e) {
    throw new CliError(`${flag} ${path} ${fileTrouble(e)}`, {
      exit: EXIT_CONFIG,
      cause: e,
    });
  }
}
