// Lint rules that need the whole tree: no cycle of imports, and no file that has grown too long.

import { LONG_FILES } from "../import-table.ts";
import { resolve } from "./file-rules.ts";
import type { Finding } from "./findings.ts";
import { imports, mask } from "./source.ts";

/** Text by path, relative to the project, with `/`. */
export type Tree = ReadonlyMap<string, string>;

const MAX_LINES = 400;

/**
 * No file reaches itself through its imports. Type imports do not count: they are erased, and two
 * interfaces may well name each other.
 */
export function noCycles(tree: Tree): Finding[] {
  const edges = new Map<string, string[]>();
  for (const [path, text] of tree) {
    const to = imports(text, mask(text))
      .filter((i) => !i.typeOnly && i.specifier.startsWith("."))
      .map((i) => resolve(path, i.specifier))
      .filter((target): target is string => target !== null && tree.has(target));
    edges.set(path, to);
  }
  const done = new Set<string>();
  const stack: string[] = [];
  const found: Finding[] = [];
  const visit = (path: string): void => {
    if (done.has(path)) return;
    const at = stack.indexOf(path);
    if (at >= 0) {
      found.push({
        path,
        line: 1,
        at: 0,
        rule: "no-cycles",
        message: `imports itself: ${[...stack.slice(at), path].join(" → ")}`,
        hint: "move what both need into a third file",
      });
      return;
    }
    stack.push(path);
    for (const target of edges.get(path) ?? []) visit(target);
    stack.pop();
    done.add(path);
  };
  for (const path of [...edges.keys()].sort()) visit(path);
  return found;
}

/** No file is over 400 lines, unless `LONG_FILES` says why; and that list has no dead entry. */
export function fileLength(
  tree: Tree,
  long: Readonly<Record<string, string>> = LONG_FILES,
): Finding[] {
  const found: Finding[] = [];
  const say = (path: string, line: number, message: string, hint: string) =>
    found.push({ path, line, at: 0, rule: "file-length", message, hint });
  for (const [path, text] of tree) {
    const lines = text.split("\n").length - 1;
    if (lines <= MAX_LINES || path in long) continue;
    const hint =
      "split it at a concept, or say in LONG_FILES (tools/import-table.ts) why it is one";
    say(path, MAX_LINES + 1, `has ${lines} lines, more than ${MAX_LINES}`, hint);
  }
  for (const path of Object.keys(long)) {
    const lines = (tree.get(path) ?? "").split("\n").length - 1;
    if (lines > MAX_LINES) continue;
    say(path, 1, "is in LONG_FILES and is not long", "take it out of tools/import-table.ts");
  }
  return found;
}
