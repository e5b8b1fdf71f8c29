// Reads TypeScript just well enough for the lint rules: what is code and what is comment or text, and
// which modules a file names. No compiler: TypeScript 7 has none that a program can call.

/** An import, an export from, or an `import()`, with a literal specifier. */
export interface Import {
  readonly specifier: string;
  /** From 1. */
  readonly line: number;
  /** Where the statement begins in the text. */
  readonly at: number;
  /** `import type` and `export type`: erased, and so no edge of the running graph. */
  readonly typeOnly: boolean;
}

/**
 * The text with comments and the insides of strings, templates and regular expressions blanked out,
 * newlines kept: positions and lines are those of the original.
 */
export function mask(text: string): string {
  const out = text.split("");
  const blank = (from: number, to: number) => {
    for (let i = from; i < to; i++) if (out[i] !== "\n") out[i] = " ";
  };
  // What `}` closes: a template's `${`, or an ordinary block.
  const braces: ("template" | "block")[] = [];
  let i = 0;
  let before = ""; // The last significant character, and the word that it ends.
  if (text.startsWith("#!")) {
    i = lineEnd(text, 0);
    blank(0, i);
  }
  while (i < text.length) {
    const c = text[i] ?? "";
    if (text.startsWith("//", i)) {
      const to = lineEnd(text, i);
      blank(i, to);
      i = to;
    } else if (text.startsWith("/*", i)) {
      const close = text.indexOf("*/", i + 2);
      const to = close < 0 ? text.length : close + 2;
      blank(i, to);
      i = to;
    } else if (c === '"' || c === "'") {
      const to = stringEnd(text, i);
      blank(i + 1, to - 1);
      before = c;
      i = to;
    } else if (c === "`" || (c === "}" && braces.at(-1) === "template")) {
      if (c === "}") braces.pop();
      const { to, opens } = templateEnd(text, i + 1);
      blank(i + 1, opens ? to - 2 : to - 1);
      if (opens) braces.push("template");
      before = opens ? "{" : "`";
      i = to;
    } else if (c === "/" && startsRegex(out, i, before)) {
      const to = regexEnd(text, i);
      blank(i + 1, to - 1);
      before = "/";
      i = to;
    } else {
      if (c === "{") braces.push("block");
      if (c === "}") braces.pop();
      if (c.trim() !== "") before = c;
      i++;
    }
  }
  return out.join("");
}

/** Every module that the file names, in order. */
export function imports(text: string, masked = mask(text)): Import[] {
  const found: Import[] = [];
  const add = (at: number, quote: number, typeOnly: boolean) => {
    const end = masked.indexOf(masked[quote] ?? "", quote + 1);
    found.push({ specifier: text.slice(quote + 1, end), line: lineOf(text, at), at, typeOnly });
  };
  const clause = /\b(?:import|export)\s+(type\s+(?!from\b|,))?[\w$*\s{},]*?\bfrom\s*["']/g;
  for (const m of masked.matchAll(clause)) {
    add(m.index, m.index + m[0].length - 1, m[1] !== undefined);
  }
  for (const m of masked.matchAll(/\bimport\s*(?:\(\s*)?["']/g)) {
    add(m.index, m.index + m[0].length - 1, false);
  }
  return found.sort((a, b) => a.at - b.at);
}

/** The line, from 1, of a position. */
export function lineOf(text: string, at: number): number {
  let line = 1;
  for (let i = text.indexOf("\n"); i >= 0 && i < at; i = text.indexOf("\n", i + 1)) line++;
  return line;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

/** Just past the closing quote, or the end of the line when there is none. */
function stringEnd(text: string, from: number): number {
  const quote = text[from];
  for (let i = from + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === quote) return i + 1;
    else if (text[i] === "\n") return i;
  }
  return text.length;
}

/** Just past the closing back-tick, or past the `${` that comes first. */
function templateEnd(text: string, from: number): { to: number; opens: boolean } {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "`") return { to: i + 1, opens: false };
    else if (text.startsWith("${", i)) return { to: i + 2, opens: true };
  }
  return { to: text.length, opens: false };
}

/** Just past the closing slash; a slash inside `[…]` does not close. */
function regexEnd(text: string, from: number): number {
  let inClass = false;
  for (let i = from + 1; i < text.length; i++) {
    const c = text[i];
    if (c === "\\") i++;
    else if (c === "[") inClass = true;
    else if (c === "]") inClass = false;
    else if (c === "/" && !inClass) return i + 1;
    else if (c === "\n") return i;
  }
  return text.length;
}

/** Whether a slash begins a regular expression: where an operand is expected, not an operator. */
function startsRegex(code: readonly string[], at: number, before: string): boolean {
  if (before === "") return true;
  if (/[\w$]/.test(before)) {
    const word = /[\w$]+\s*$/.exec(code.slice(Math.max(0, at - 12), at).join(""))?.[0].trim();
    return /^(return|typeof|case|of|in|delete|void|yield|await|else|do)$/.test(word ?? "");
  }
  return !/[)\]}"'`/]/.test(before);
}
