// Objects of a cluster that are piped into a command, as kubectl prints them. What is no object is
// refused with its place: nothing that is deleted may hang on what was not understood.

import { readFile } from "node:fs/promises";
import { parseAllDocuments } from "yaml";
import { errorText } from "../core/errors.ts";
import type { Manifest } from "../control/injector/containers.ts";
import { CliError, EXIT_CONFIG, fileTrouble, usageError } from "./failure.ts";
import { type Flags, quote } from "./flags.ts";
import { readStdin } from "./stdin.ts";

/** What a large cluster's pods or Secrets are as YAML. */
const MAX_INPUT_BYTES = 256 * 1024 * 1024;

/** An object with a kind and a name. */
export interface KubeObject extends Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, unknown>>;
  };
}

/** What a file has. */
export interface KubeObjects {
  /** Where they are from, for messages: the flag and the path. */
  readonly from: string;
  readonly objects: readonly KubeObject[];
  /** The kinds that lists without objects name, such as `Pod` of a `PodList`. */
  readonly emptyOf: readonly string[];
}

/**
 * Objects of the file that a flag names, or of standard input; a List gives its items. Nothing at all is
 * refused: it is what a pipe gives whose first command failed, and not a cluster without pods.
 */
export async function readObjects(flags: Flags, flag: string): Promise<KubeObjects> {
  const path = flags.text(flag);
  if (path === null) throw usageError(`${flag} is missing`);
  const from = `${flag} ${path}`;
  let text: string;
  try {
    text = path === "-" ? await readStdin(MAX_INPUT_BYTES) : await readFile(path, "utf8");
  } catch (e) {
    throw new CliError(`${from} ${fileTrouble(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) throw noObjects(from);
  const objects: KubeObject[] = [];
  const emptyOf: string[] = [];
  let documentsWithObjects = 0;
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) throw wrong(`is not YAML: ${error.message.split("\n")[0]}`);
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch (e) {
      throw wrong(`is not YAML: ${errorText(e)}`);
    }
    if (value === null) continue;
    if (!isMap(value) || typeof value["kind"] !== "string") throw noObjects(from);
    documentsWithObjects++;
    const { kind, items } = value;
    const of = kind.replace(/List$/, "");
    if (!Array.isArray(items)) {
      objects.push(checked(value, kind, `document ${documentsWithObjects}`));
    } else if (items.length === 0) emptyOf.push(of);
    else {
      for (const [i, item] of items.entries()) {
        // The API server's own lists say the kind once.
        objects.push(checked(item, of, `item ${i + 1} of the ${kind}`));
      }
    }
  }
  if (documentsWithObjects === 0) throw noObjects(from);
  return { from, objects, emptyOf };

  function wrong(what: string): CliError {
    return new CliError(`${from} ${what}`, { exit: EXIT_CONFIG });
  }

  /** `kind` is what it is when it does not say. */
  function checked(value: unknown, kind: string, place: string): KubeObject {
    if (!isMap(value)) throw wrong(`has no object as ${place}`);
    const { metadata } = value;
    const own = value["kind"] ?? kind;
    if (typeof own !== "string" || own === "") throw wrong(`has no kind in ${place}`);
    const name = isMap(metadata) ? metadata["name"] : undefined;
    if (!isMap(metadata) || typeof name !== "string" || name === "") {
      const said = value["message"];
      const more = typeof said === "string" ? `: ${quote(said)}` : "";
      throw wrong(`has no metadata.name in ${place}, a ${own}${more}`);
    }
    for (const [field, type] of [["labels", "a map"], ["namespace", "text"]] as const) {
      const given = metadata[field];
      const isRight = given === undefined || given === null ||
        (type === "text" ? typeof given === "string" : isMap(given));
      if (!isRight) throw wrong(`has metadata.${field} of ${own} ${name} that is not ${type}`);
    }
    return { ...value, kind: own, metadata: metadata as KubeObject["metadata"] };
  }
}

/** Kind, namespace and name of an object, for messages. */
export function objectName({ kind, metadata: { name, namespace } }: KubeObject): string {
  return `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

function noObjects(from: string): CliError {
  return new CliError(`${from} has no Kubernetes objects`, {
    exit: EXIT_CONFIG,
    hint: "Give what kubectl get … -o yaml prints; if it failed, mend that first",
  });
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
