// YAML of the folder: documents with positions, so that an error names its line. A document that
// cannot be read does not spoil the others.

import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments } from "yaml";
import type { Document, Node } from "yaml";
import { errorText } from "../../core/errors.ts";
import type { FieldPath } from "../field.ts";

/** Aliases that one document may expand to: more is a trap. */
const MAX_ALIASES = 100;
const MAX_DOCUMENTS = 10_000;

/** An object of a file, or why there is none. */
export type YamlObject =
  | {
    readonly value: unknown;
    /** The line of a field, or of the nearest thing around it. */
    readonly lineOf: (path: FieldPath) => number;
  }
  | { readonly error: string; readonly line: number };

/** The objects of a file in order; a `List` gives its items. Empty documents give nothing. */
export function parseYaml(text: string): readonly YamlObject[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
  });
  if (!Array.isArray(documents)) return [];
  if (documents.length > MAX_DOCUMENTS) {
    return [{ error: `has more than ${MAX_DOCUMENTS} documents`, line: 1 }];
  }
  return (documents as Document.Parsed[]).flatMap((document) => objectsOf(document, lines));
}

function objectsOf(document: Document.Parsed, lines: LineCounter): YamlObject[] {
  const [error] = document.errors;
  const start = lines.linePos(document.range[0]).line;
  if (error !== undefined) {
    return [{ error: errorText(error), line: lines.linePos(error.pos[0]).line }];
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (e) {
    return [{ error: errorText(e), line: start }];
  }
  if (value === null || value === undefined) return [];
  const lineAt = (path: FieldPath) => lineOf(document, path, lines) ?? start;
  if (typeof value === "object" && "kind" in value && value.kind === "List" && "items" in value) {
    const { items } = value;
    if (!Array.isArray(items)) return [{ error: "items: is not a list", line: lineAt(["items"]) }];
    return items.map((item, i) => ({
      value: item,
      lineOf: (path) => lineAt(["items", i, ...path]),
    }));
  }
  return [{ value, lineOf: lineAt }];
}

/** Follows a path as far as it goes. */
function lineOf(document: Document.Parsed, path: FieldPath, lines: LineCounter): number | null {
  let node: unknown = document.contents;
  let at: Node | null = isNode(node) ? node : null;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === part);
      if (pair === undefined) break;
      at = pair.key as Node;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      if (!isNode(node)) break;
      at = node;
    } else break;
  }
  return at?.range === null || at?.range === undefined ? null : lines.linePos(at.range[0]).line;
}
