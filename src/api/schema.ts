// Small checks that read `unknown` JSON as a type, so that a shape is written once: the schema in
// `admin.ts` is both the type that the server answers with and what a client or a test checks.
// Unknown fields are dropped, so that an older reader understands a newer writer.

/** Reads a value as `T`, or throws a `Mismatch` that names where it is. */
export type Check<T> = (value: unknown, at: string) => T;

/** What a check reads. */
export type Of<C> = C extends Check<infer T> ? T : never;

/** A value is not what the schema says. The message names the path, what was wanted and what was found. */
export class Mismatch extends Error {
  constructor(at: string, wanted: string, found: unknown) {
    super(`${at} must be ${wanted}, found ${describe(found)}`);
    this.name = "Mismatch";
  }
}

/** A string of at most `maxChars`. */
export function text(maxChars = 4096): Check<string> {
  return (value, at) => {
    if (typeof value === "string" && value.length <= maxChars) return value;
    throw new Mismatch(at, `a string of at most ${maxChars} characters`, value);
  };
}

/** A string that matches; `wanted` says in words what that is. */
export function pattern(regExp: RegExp, wanted: string): Check<string> {
  return (value, at) => {
    if (typeof value === "string" && regExp.test(value)) return value;
    throw new Mismatch(at, wanted, value);
  };
}

/** A finite number, not negative. */
export const amount: Check<number> = (value, at) => {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw new Mismatch(at, "a number of 0 or more", value);
};

/** A share from 0 to 1. */
export const share: Check<number> = (value, at) => {
  if (typeof value === "number" && value >= 0 && value <= 1) return value;
  throw new Mismatch(at, "a number from 0 to 1", value);
};

export const flag: Check<boolean> = (value, at) => {
  if (typeof value === "boolean") return value;
  throw new Mismatch(at, "true or false", value);
};

/** One of the strings given. */
export function oneOf<const T extends string>(...values: readonly T[]): Check<T> {
  return (value, at) => {
    const found = values.find((v) => v === value);
    if (found !== undefined) return found;
    throw new Mismatch(at, `one of ${values.join(", ")}`, value);
  };
}

/** What the check reads, or null. A missing field is not null. */
export function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, at) => (value === null ? null : check(value, at));
}

/** A list of at most `max`. */
export function list<T>(check: Check<T>, max = 10_000): Check<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value) || value.length > max) {
      throw new Mismatch(at, `a list of at most ${max}`, value);
    }
    return value.map((item: unknown, i) => check(item, `${at}[${i}]`));
  };
}

/** An object with at least these fields. */
export function object<S extends Readonly<Record<string, Check<unknown>>>>(
  shape: S,
): Check<{ readonly [K in keyof S]: Of<S[K]> }> {
  const fields = Object.entries(shape);
  return (value, at) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Mismatch(at, "an object", value);
    }
    const read = Object.create(null) as Record<string, unknown>;
    for (const [name, check] of fields) {
      const field = Object.hasOwn(value, name)
        ? (value as Record<string, unknown>)[name]
        : undefined;
      read[name] = check(field, at === "" ? name : `${at}.${name}`);
    }
    return { ...read } as { readonly [K in keyof S]: Of<S[K]> };
  };
}

/** An object with any keys and values of one kind, at most `max` of them. */
export function dictionary<T>(check: Check<T>, max = 10_000): Check<Readonly<Record<string, T>>> {
  return (value, at) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Mismatch(at, "an object", value);
    }
    const entries = Object.entries(value);
    if (entries.length > max) throw new Mismatch(at, `an object of at most ${max} fields`, value);
    return Object.fromEntries(entries.map(([key, item]) => [key, check(item, `${at}.${key}`)]));
  };
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "string") return value.length > 60 ? "a long string" : JSON.stringify(value);
  return typeof value === "object" ? "an object" : String(value);
}
