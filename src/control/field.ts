// Reading of Kubernetes objects: a value with its path, so that what is wrong is named by field. The
// source of the object (a folder, an API server) knows how to say where that is.

/** A path into an object: `spec`, `ports`, 0, `port`. */
export type FieldPath = readonly (string | number)[];

/** A value that an object may not have. The message begins with the field's path. */
export class FieldError extends Error {
  readonly path: FieldPath;
  constructor(path: FieldPath, problem: string) {
    super(path.length === 0 ? problem : `${formatPath(path)}: ${problem}`);
    this.name = "FieldError";
    this.path = path;
  }
}

/** `spec.ports[0].port`. */
export function formatPath(path: FieldPath): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`,
    "",
  );
}

/** One value of an object. Absent and null are the same, as in Kubernetes. */
export class Field {
  readonly value: unknown;
  readonly path: FieldPath;

  constructor(value: unknown, path: FieldPath) {
    this.value = value ?? undefined;
    this.path = path;
  }

  get isAbsent(): boolean {
    return this.value === undefined;
  }

  fail(problem: string): never {
    throw new FieldError(this.path, problem);
  }

  /** The member of an object; absent when this value is. */
  at(key: string): Field {
    if (this.isAbsent) return new Field(undefined, [...this.path, key]);
    const { value } = this;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return this.fail("is not an object");
    }
    return new Field(Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : null, [
      ...this.path,
      key,
    ]);
  }

  /** The elements of a list; none when it is absent. */
  list(maxItems = 4096): readonly Field[] {
    if (this.isAbsent) return [];
    if (!Array.isArray(this.value)) return this.fail("is not a list");
    if (this.value.length > maxItems) return this.fail(`has more than ${maxItems} elements`);
    return this.value.map((v, i) => new Field(v, [...this.path, i]));
  }

  /** Text of a scalar. Absent is an error. */
  string(): string {
    if (this.isAbsent) return this.fail("is missing");
    if (typeof this.value !== "string") return this.fail(`is ${show(this.value)}, not text`);
    if (this.value.length > 65_536) return this.fail("is longer than 65536 characters");
    return this.value;
  }

  stringOr(absent: string): string {
    return this.isAbsent ? absent : this.string();
  }

  boolOr(absent: boolean): boolean {
    if (this.isAbsent) return absent;
    return typeof this.value === "boolean"
      ? this.value
      : this.fail(`is ${show(this.value)}, not true or false`);
  }

  int(min: number, max: number): number {
    if (this.isAbsent) return this.fail("is missing");
    const { value } = this;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      return this.fail(`is ${show(value)}, not a whole number from ${min} to ${max}`);
    }
    return value;
  }

  intOr(absent: number, min: number, max: number): number {
    return this.isAbsent ? absent : this.int(min, max);
  }

  number(min: number, max: number): number {
    if (this.isAbsent) return this.fail("is missing");
    const { value } = this;
    if (typeof value !== "number" || !(value >= min && value <= max)) {
      return this.fail(`is ${show(value)}, not a number from ${min} to ${max}`);
    }
    return value;
  }

  /** One of the given words. */
  oneOf<T extends string>(words: readonly T[]): T {
    const value = this.string();
    return words.find((w) => w === value) ??
      this.fail(`is ${show(value)}, not one of ${words.join(", ")}`);
  }

  /** A port by number, or by the name that a container gives it. */
  port(): number | string {
    if (typeof this.value === "number") return this.int(1, 65535);
    const name = this.string();
    // YAML that quotes a number still means the number.
    if (/^\d+$/.test(name)) {
      const n = Number(name);
      return n >= 1 && n <= 65535 ? n : this.fail(`is ${show(name)}, not a port`);
    }
    return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/i.test(name)
      ? name
      : this.fail(`is ${show(name)}, not a port`);
  }

  /** A map of text to text: labels, annotations. Scalars other than text are taken as text. */
  strings(): Readonly<Record<string, string>> {
    if (this.isAbsent) return {};
    const { value } = this;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return this.fail("is not an object");
    }
    const out: Record<string, string> = Object.create(null);
    for (const [key, v] of Object.entries(value)) {
      if (typeof v === "object" && v !== null) {
        return new Field(v, [...this.path, key]).fail("is not text");
      }
      out[key] = v === null ? "" : String(v);
    }
    return out;
  }
}

/** A value in a message: short, in one line. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
