// Lint rules that need one file: the import table, no default exports, no `export *`, and the
// comment at a file's head. Pure functions of path and text, run by `deno lint` and by editors through
// tools/check/lint-plugin.ts.

import { fits, type ImportRow, rowOf } from "../import-table.ts";
import type { Finding } from "./findings.ts";
import { imports, lineOf, mask } from "./source.ts";

/** What a rule sees. */
export interface Source {
  /** Relative to the project, with `/`. */
  readonly path: string;
  readonly text: string;
  /** The text with comments and literals blanked out. */
  readonly code: string;
}

/** Prepares a file for the rules. */
export function source(path: string, text: string): Source {
  return { path, text, code: mask(text) };
}

/** A rule, by the name under which an editor shows it. */
export type FileRule = (source: Source) => Finding[];

/** The names that only files with `runtime: true` may use, beside `node:` modules. */
const RUNTIME_NAMES = /(?<![\w$.#])(Deno|process|Buffer)(?=\s*(?:\?\.|[.[]))/g;

/** A file imports only what its row of tools/import-table.ts lists. */
export function importTable(s: Source): Finding[] {
  const row = rowOf(s.path);
  if (row === null) {
    const message = "no row of the import table fits this file";
    const hint = "add one to tools/import-table.ts and to docs/ARCHITECTURE.md";
    return [{ path: s.path, line: 1, at: 0, rule: "import-table", message, hint }];
  }
  const found: Finding[] = [];
  for (const i of imports(s.text, s.code)) {
    const message = refuse(row, s.path, i.specifier);
    if (message === null) continue;
    found.push({
      path: s.path,
      line: i.line,
      at: i.at,
      rule: "import-table",
      message,
      hint: row.hint,
    });
  }
  if (!row.runtime) {
    for (const m of s.code.matchAll(RUNTIME_NAMES)) {
      found.push({
        path: s.path,
        line: lineOf(s.text, m.index),
        at: m.index,
        rule: "import-table",
        message: `uses ${m[1]}, and only src/runtime, src/cli and what is outside src may`,
        hint: row.hint,
      });
    }
  }
  return found;
}

/** Why this import is refused, or null. */
function refuse(row: ImportRow, path: string, specifier: string): string | null {
  if (specifier.startsWith("node:")) {
    return row.runtime ? null : `imports ${specifier}, and ${row.files} may not touch the runtime`;
  }
  if (specifier.startsWith(".")) {
    const target = resolve(path, specifier);
    if (target === null) return `imports ${specifier}, which is outside the project`;
    return row.mayImport.some((m) => fits(target, m)) ? null : `imports ${target}`;
  }
  if (specifier.startsWith("#")) return null; // A condition of package.json, resolved in src/runtime.
  if (/^[a-z]+:/.test(specifier)) return `imports ${specifier}: write the package's name`;
  const name = specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
  const use = row.packages.find((p) => p.name === name);
  if (use === undefined) return `imports the package ${name}, which ${row.files} may not use`;
  if (use.only !== undefined && !use.only.test(path)) {
    return `imports the package ${name}, which in ${row.files} only files like ${use.only} may use`;
  }
  return null;
}

/** The project path that a relative specifier means, or null when it leads outside. */
export function resolve(path: string, specifier: string): string | null {
  const parts = path.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "." || part === "") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return null;
  }
  return parts.join("/");
}

/** A name that is exported is the name that is searched for. */
export function noDefaultExport(s: Source): Finding[] {
  return every(s, /\bexport\s+default\b|\bas\s+default\b(?=[\s,}])/g, {
    rule: "no-default-export",
    message: "has a default export",
    hint: "export it by its name",
  });
}

/** A file that only passes others on hides who uses what. */
export function noBarrel(s: Source): Finding[] {
  return every(s, /\bexport\s*\*/g, {
    rule: "no-barrel",
    message: "exports everything of another file",
    hint: "let users import from the file that has it",
  });
}

/** Relative imports name the file, so that both runtimes find it without a resolver. */
export function importExtension(s: Source): Finding[] {
  return imports(s.text, s.code)
    .filter((i) => i.specifier.startsWith(".") && !/\.(ts|js|json|wasm)$/.test(i.specifier))
    .map((i) => ({
      path: s.path,
      line: i.line,
      at: i.at,
      rule: "import-extension",
      message: `imports ${i.specifier} without its extension`,
      hint: "write the file's whole name, with .ts",
    }));
}

/** Every file begins by saying what it holds; of a test, the names of its tests say it. */
export function headComment(s: Source): Finding[] {
  if (s.path.endsWith(".test.ts")) return [];
  const text = s.text.replace(/^#![^\n]*\n/, "");
  const head = /^(?:\/\/[^\n]*\n)+/.exec(text)?.[0] ?? "";
  const words = head.replace(/[/\s]+/g, " ").trim().split(" ").filter((w) => w !== "");
  if (words.length >= 3) return [];
  return [{
    path: s.path,
    line: 1,
    at: 0,
    rule: "head-comment",
    message: "does not begin with a comment that says what the file holds",
    hint: "two to six lines: what it holds, what comes before and after it, what it must not do",
  }];
}

/** All of them, by name. */
export const FILE_RULES: Readonly<Record<string, FileRule>> = {
  "import-table": importTable,
  "no-default-export": noDefaultExport,
  "no-barrel": noBarrel,
  "import-extension": importExtension,
  "head-comment": headComment,
};

function every(
  s: Source,
  pattern: RegExp,
  says: { rule: string; message: string; hint: string },
): Finding[] {
  return [...s.code.matchAll(pattern)].map((m) => ({
    path: s.path,
    line: lineOf(s.text, m.index),
    at: m.index,
    ...says,
  }));
}
