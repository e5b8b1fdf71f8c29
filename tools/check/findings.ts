// What a lint rule says.

/** Something that is not right, where, and what to do about it. */
export interface Finding {
  /** Relative to the project, with `/`. */
  readonly path: string;
  /** From 1. */
  readonly line: number;
  /** Where in the text, for an editor; 0 for the whole file. */
  readonly at: number;
  readonly rule: string;
  readonly message: string;
  readonly hint: string;
}

/** `path:line: rule: message (hint)`. */
export function formatFinding(f: Finding): string {
  return `${f.path}:${f.line}: ${f.rule}: ${f.message}\n    hint: ${f.hint}`;
}
