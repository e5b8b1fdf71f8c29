// The command line as values: which flags a command takes, and what was given. Each bad flag is one
// line that names it.

import { usageError } from "./failure.ts";
import { nearest } from "./suggest.ts";

/** A flag that a command takes. */
export interface FlagSpec {
  /** With its dashes: `--listen`. */
  readonly name: string;
  /** One letter for it, with its dash: `-l`; absent: none. */
  readonly short?: string;
  /** What stands for the value in the help; absent: the flag takes none. */
  readonly value?: string;
  /** The value of the flag alone, for one that takes its value only after `=`, as `--ipv6=false`. */
  readonly bare?: string;
  /** An empty value is one. */
  readonly mayBeEmpty?: boolean;
  /** May be given more than once. */
  readonly repeat?: boolean;
  readonly summary: string;
}

/** What was given. Asking for a flag that the command does not declare is a defect and throws. */
export interface Flags {
  /** The words that are no flags, in order. */
  readonly operands: readonly string[];
  has(name: string): boolean;
  /** The value, or null when the flag was not given. */
  text(name: string): string | null;
  /** The values of a flag that may repeat, in order. */
  all(name: string): readonly string[];
}

/** Every command takes these. */
export const COMMON_FLAGS: readonly FlagSpec[] = [
  { name: "--help", summary: "Print this help" },
  { name: "--verbose", summary: "Say more, with stack traces for errors" },
];

/**
 * Reads `argv` by `specs`. Takes `--flag value` and `--flag=value`, and words between them when
 * `operands` allows any; throws a usage error, which shows `usage` where a word is missing.
 */
export function parseFlags(
  specs: readonly FlagSpec[],
  argv: readonly string[],
  { min, max }: { readonly min: number; readonly max: number } = { min: 0, max: 0 },
  usage = "",
): Flags {
  const operands: string[] = [];
  const known = new Map([...specs, ...COMMON_FLAGS].map((spec) => [spec.name, spec]));
  const byLetter = new Map(
    specs.flatMap(({ name, short }) => short === undefined ? [] : [[short, name]]),
  );
  const given = new Map<string, string[]>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "-h") {
      given.set("--help", [""]);
      continue;
    }
    // `-` alone is standard input
    if ((word === "-" || !word.startsWith("-")) && operands.length < max) {
      operands.push(word);
      continue;
    }
    if (!word.startsWith("-")) {
      if (max > 0) throw usageError(`Unexpected argument ${quote(word)}: it takes at most ${max}`);
      throw usageError(`Unexpected argument ${quote(word)}`, "This command takes only flags");
    }
    const cut = word.indexOf("=");
    const written = cut < 0 ? word : word.slice(0, cut);
    const name = byLetter.get(written) ?? written;
    const spec = known.get(name);
    if (spec === undefined) {
      const meant = nearest(name, [...known.keys()]);
      throw usageError(
        `Unknown flag ${quote(name)}`,
        meant === null
          ? "Run it with --help for the flags that it takes"
          : `Did you mean ${meant}?`,
      );
    }
    let value = "";
    if (spec.value === undefined) {
      if (cut >= 0) throw usageError(`${name} takes no value`);
    } else if (cut >= 0) {
      value = word.slice(cut + 1);
    } else if (spec.bare !== undefined) {
      value = spec.bare;
    } else {
      i++;
      const next = argv[i];
      if (next === undefined || next.startsWith("--")) {
        throw usageError(`${name} needs a value: ${name} ${spec.value}`);
      }
      value = next;
    }
    if (spec.value !== undefined && value === "" && spec.mayBeEmpty !== true) {
      throw usageError(`${name} needs a value: ${name} ${spec.value}`);
    }
    const values = given.get(name);
    if (values === undefined) given.set(name, [value]);
    else if (spec.repeat === true) values.push(value);
    else if (spec.value !== undefined) throw usageError(`${name} is given twice`);
  }
  if (operands.length < min && !given.has("--help")) {
    throw usageError(
      "An argument is missing",
      usage === "" ? "Run it with --help for what it takes" : `Usage: tulle ${usage}`,
    );
  }
  const declared = (name: string) => {
    if (!known.has(name)) throw new Error(`${name} is not declared by this command`);
    return given.get(name);
  };
  return {
    operands,
    has: (name) => declared(name) !== undefined,
    text: (name) => declared(name)?.[0] ?? null,
    all: (name) => declared(name) ?? [],
  };
}

const DURATION_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `20s`, `500ms`, `2m`: milliseconds. Throws a usage error that names the flag. */
export function parseDurationMs(flag: string, text: string): number {
  const m = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text);
  const ms = m === null ? 0 : Number(m[1]) * (DURATION_MS[m[2] ?? ""] ?? 0);
  if (ms <= 0) {
    throw usageError(`${flag} ${quote(text)} is not a duration: write 500ms, 20s or 2m`);
  }
  return ms;
}

/** A whole number from `min` to `max`. Throws a usage error that names the flag. */
export function parseWhole(flag: string, text: string, min: number, max: number): number {
  const n = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (!(n >= min && n <= max)) {
    throw usageError(`${flag} ${quote(text)} is not a whole number from ${min} to ${max}`);
  }
  return n;
}

/** Text of the user in a message: quoted, in one line, bounded. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? text.slice(0, 79) + "…" : text);
}
