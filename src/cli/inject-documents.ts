// Kubernetes objects inside of YAML text, changed in place: comments, order and everything that is not
// understood stay as they are.

import { type Document, isMap, isScalar, isSeq, parseAllDocuments } from "yaml";
import type { PatchOp } from "../control/injector/json-patch.ts";
import { CliError, EXIT_CONFIG } from "./failure.ts";

/** A place in a document. */
export type NodePath = readonly (string | number)[];

/** One object: a document, or an item of a List. */
export interface FoundObject {
  readonly document: Document;
  readonly at: NodePath;
  readonly kind: string;
  readonly name: string;
}

const MAX_DOCUMENTS = 10_000;

/** Throws for text that is no YAML, with the file and line. */
export function parseDocuments(text: string, where: string): readonly Document[] {
  const documents = parseAllDocuments(text, { keepSourceTokens: false });
  if (!Array.isArray(documents)) return [];
  if (documents.length > MAX_DOCUMENTS) {
    throw new CliError(`${where} has over ${MAX_DOCUMENTS} documents`, { exit: EXIT_CONFIG });
  }
  for (const { errors: [error] } of documents) {
    if (error === undefined) continue;
    const line = error.linePos?.[0].line;
    throw new CliError(
      `${where}${line === undefined ? "" : `:${line}`} is not YAML: ${
        error.message.split("\n")[0]
      }`,
      { exit: EXIT_CONFIG, cause: error },
    );
  }
  return documents as readonly Document[];
}

/** The objects of a document: one, none when it is empty, or a List's. */
export function objectsOf(document: Document): readonly FoundObject[] {
  if (!isMap(document.contents)) return [];
  const items = document.getIn(["items"]);
  const isList = String(document.getIn(["kind"]) ?? "").endsWith("List") && isSeq(items);
  const places: NodePath[] = isList ? items.items.map((_, i) => ["items", i]) : [[]];
  return places.flatMap((at) => {
    const kind = document.getIn([...at, "kind"]);
    if (typeof kind !== "string") return [];
    const name = document.getIn([...at, "metadata", "name"]) ??
      document.getIn([...at, "metadata", "generateName"]);
    return [{ document, at, kind, name: String(name ?? "") }];
  });
}

/** A plain copy of what is at `at`; undefined when there is nothing. */
export function plain(document: Document, at: NodePath): unknown {
  const node: unknown = at.length === 0 ? document.contents : document.getIn(at, true);
  if (node === undefined || node === null) return undefined;
  const has = node as { toJS?: (document: Document, options: object) => unknown };
  return has.toJS === undefined ? node : has.toJS(document, { maxAliasCount: 100 });
}

/** Sets a member of an object, and the objects above it where they are missing. */
export function setAt(document: Document, at: NodePath, value: unknown): void {
  // `metadata:` without anything below it is null, and not an object yet
  for (let i = 1; i < at.length; i++) {
    const above = document.getIn(at.slice(0, i), true);
    if (above === undefined || above === null || (isScalar(above) && above.value === null)) {
      document.setIn(at.slice(0, i), document.createNode({}));
    }
  }
  document.setIn(at, document.createNode(value));
}

/** Removes what is there. True when something was. */
export function removeAt(document: Document, at: NodePath): boolean {
  return document.hasIn(at) && document.deleteIn(at);
}

/** Applies a patch below `at`. */
export function patchAt(document: Document, at: NodePath, patch: readonly PatchOp[]): void {
  for (const { path, value } of patch) {
    const parts = path.split("/").slice(1)
      .map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = parts.pop() ?? "";
    const parent = document.getIn([...at, ...parts], true);
    if (isSeq(parent)) {
      const index = last === "-" ? parent.items.length : Number(last);
      parent.items.splice(index, 0, document.createNode(value));
      parent.flow = false;
    } else setAt(document, [...at, ...parts, last], value);
  }
}

/** Text of all, as one stream. */
export function documentsText(documents: readonly Document[]): string {
  return documents.map((document, i) => {
    const text = document.toString({
      lineWidth: 0,
      directives: false,
      flowCollectionPadding: false,
    });
    return (i === 0 ? "" : "---\n") + (text.endsWith("\n") ? text : text + "\n");
  }).join("");
}
