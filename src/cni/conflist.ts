// The host's network configurations: where our plugin stands in a list, how it gets there and how it is
// taken out again. Pure, text in and text out; what is not understood is left as it is.

import { errorText } from "../core/errors.ts";
import { PLUGIN_TYPE } from "./config.ts";

/** Any JSON object. */
export type JsonObject = { readonly [key: string]: unknown };

/** What is to be done with a file. */
export type Rewrite =
  /** Nothing: it is as it should be. */
  | { readonly kind: "same" }
  /** Write `text` to `name`; `instead` is the file that it stands for from then on, to be removed. */
  | {
    readonly kind: "write";
    readonly name: string;
    readonly text: string;
    readonly instead: string | null;
  }
  /** Nothing, for a reason that people should know; null: for one that is nobody's fault. */
  | { readonly kind: "leave"; readonly why: string | null };

const SAME: Rewrite = { kind: "same" };
/** Lists exist since this version. */
const FIRST_WITH_LISTS = "0.3.1";
const WITHOUT_LISTS = /^0\.[12]\./;

/** Whether a runtime reads a file of this name as a network. */
export function isNetworkFile(name: string): boolean {
  return /^[^.].*\.(conf|conflist)$/.test(name);
}

/**
 * The file with our plugin: at the end of its list, or where it stands already, unless that is first. A
 * file of one plugin becomes a list with its name and version, which address management goes by.
 */
export function withPlugin(name: string, text: string, plugin: JsonObject): Rewrite {
  const read = parse(text);
  if (typeof read === "string") return { kind: "leave", why: read };
  if (Array.isArray(read.plugins)) return intoList(name, read, read.plugins, plugin);
  if (typeof read.type !== "string") return { kind: "leave", why: "it names no plugin" };
  // Loopback is for every sandbox and no network of pods.
  if (read.type === "loopback") return { kind: "leave", why: null };
  const { name: network, cniVersion, ...only } = read;
  const version = typeof cniVersion === "string" && !WITHOUT_LISTS.test(cniVersion)
    ? cniVersion
    : FIRST_WITH_LISTS;
  return {
    kind: "write",
    name: name.replace(/\.conf$/, ".conflist"),
    text: print({
      cniVersion: version,
      name: typeof network === "string" ? network : "k8s-pod-network",
      plugins: [only, plugin],
    }),
    instead: name.endsWith(".conf") ? name : null,
  };
}

/** The file without our plugin; what was made a list stays one. */
export function withoutPlugin(name: string, text: string): Rewrite {
  const read = parse(text);
  if (typeof read === "string" || !Array.isArray(read.plugins)) return SAME;
  const plugins = read.plugins.filter((p) => !isOurs(p));
  if (plugins.length === read.plugins.length) return SAME;
  return { kind: "write", name, text: print({ ...read, plugins }), instead: null };
}

/** Whether our plugin is in the file. */
export function hasPlugin(text: string): boolean {
  const read = parse(text);
  return typeof read !== "string" && Array.isArray(read.plugins) && read.plugins.some(isOurs);
}

function intoList(
  name: string,
  list: JsonObject,
  plugins: readonly unknown[],
  plugin: JsonObject,
): Rewrite {
  const others = plugins.filter((p) => !isOurs(p));
  if (others.length === 0) return { kind: "leave", why: "its list has no other plugin" };
  if (typeof list.cniVersion === "string" && WITHOUT_LISTS.test(list.cniVersion)) {
    return { kind: "leave", why: `cniVersion ${list.cniVersion} knows no chained plugins` };
  }
  // Any place after the first will do: two programs that each want to be last would never end.
  const at = plugins.findIndex(isOurs);
  const once = plugins.length - others.length === 1;
  if (at > 0 && once && JSON.stringify(plugins[at]) === JSON.stringify(plugin)) return SAME;
  const kept = at > 0 && once ? plugins.map((p) => isOurs(p) ? plugin : p) : [...others, plugin];
  return { kind: "write", name, text: print({ ...list, plugins: kept }), instead: null };
}

/** The object, or why there is none. */
function parse(text: string): JsonObject | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (e) {
    // As the parser says it, without the text around the place.
    return `it is not JSON: ${errorText(e).split(",")[0]?.slice(0, 80)}`;
  }
  return isObject(value) ? value : "it is no object";
}

function isOurs(plugin: unknown): boolean {
  return isObject(plugin) && plugin.type === PLUGIN_TYPE;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function print(value: unknown): string {
  return JSON.stringify(value, null, 2) + "\n";
}
