// From a place in the module that runs to the line that its author wrote: back through the rewriter's
// insertions, then through a source map (version 3) where somebody has one. Read only when a filter
// trapped, never for a request.

/** An `OffsetMap` as plain values. */
export interface OffsetNumbers {
  readonly bodies: Uint32Array;
  readonly pairs: Uint32Array;
  readonly shift: number;
}

/** Where the code of the rewritten module comes from. Filled by rewrite.ts, in ascending order. */
export class OffsetMap {
  /** Original and rewritten offset, in pairs; between two pairs code is a copy, or inserted. */
  readonly #pairs: number[] = [];
  readonly #bodies: number[] = [];
  #shift = 0;

  /** A function: pairs of an original offset, and one that is relative to `base` in the rewritten. */
  addBody(places: readonly number[], base: number): void {
    this.#bodies.push(places[0] as number);
    for (let i = 0; i < places.length; i += 2) {
      this.#pairs.push(places[i] as number, base + (places[i + 1] as number));
    }
  }

  /** All of it as plain values, which may go to another thread. */
  plain(): OffsetNumbers {
    return {
      bodies: Uint32Array.from(this.#bodies),
      pairs: Uint32Array.from(this.#pairs),
      shift: this.#shift,
    };
  }

  /** The map that `plain` was made of. */
  static of(numbers: OffsetNumbers): OffsetMap {
    const map = new OffsetMap();
    for (const n of numbers.bodies) map.#bodies.push(n);
    for (const n of numbers.pairs) map.#pairs.push(n);
    map.#shift = numbers.shift;
    return map;
  }

  /** The rewritten offsets so far were relative to this one. */
  relativeTo(base: number): void {
    this.#shift = base;
  }

  /** The original offset; of inserted code, where it was put in. Code that has no original: -1. */
  toOriginal(rewritten: number): number {
    const at = rewritten - this.#shift;
    const i = lastAtMost(this.#pairs, 2, 1, at);
    if (i < 0) return -1;
    const next = this.#pairs[i + 2];
    if (next === undefined) return -1;
    // between two functions is the second's head, where the engine says that the stack was exhausted
    if (this.bodyOf(next) === next) return next;
    return Math.min((this.#pairs[i] as number) + at - (this.#pairs[i + 1] as number), next);
  }

  /** Where the function begins that has this original offset. */
  bodyOf(original: number): number {
    const i = lastAtMost(this.#bodies, 1, 0, original);
    return i < 0 ? 0 : this.#bodies[i] as number;
  }
}

/** Index of the last group of `size` numbers whose number `key` is at most `value`, or -1. */
function lastAtMost(list: readonly number[], size: number, key: number, value: number): number {
  let low = 0;
  let high = list.length / size;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle * size + key] as number) <= value) low = middle + 1;
    else high = middle;
  }
  return (low - 1) * size;
}

/** A place in a source; line and column count from 1. */
export interface Position {
  readonly source: string;
  readonly line: number;
  readonly column: number;
}

/** More than the map of the largest module that a proxy takes. */
export const MAX_MAP_BYTES = 32 * 1024 * 1024;
const FIELDS = 4;
/** Entries that are looked at behind a place that has none. */
const AHEAD = 4;
const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const DIGITS = new Map(Array.from(BASE64, (c, i) => [c.charCodeAt(0), i]));

/** A parsed source map of a module: its «generated column» is the byte offset. */
export class SourceMap {
  readonly #sources: readonly string[];
  /** Offset, source, line, column, from 0; ascending. Source -1: nobody's code. */
  readonly #entries: readonly number[];

  private constructor(sources: readonly string[], entries: readonly number[]) {
    this.#sources = sources;
    this.#entries = entries;
  }

  /**
   * Reads the JSON text of a map; `place` turns a source's path in the map into the one to show. Throws
   * with one line for what is no map.
   */
  static parse(text: string, place: (source: string) => string = (s) => s): SourceMap {
    if (text.length > MAX_MAP_BYTES) throw new Error("the source map is too large");
    const map = JSON.parse(text) as Readonly<Record<string, unknown>> | null;
    const { version, sources, mappings } = map ?? {};
    const isMap = version === 3 && Array.isArray(sources) && typeof mappings === "string" &&
      sources.every((s) => typeof s === "string");
    if (!isMap) throw new Error("it is not a source map of version 3");
    const shown = (sources as string[]).map((s) => isLibrary(s) ? s : place(s));
    return new SourceMap(shown, decode(mappings, shown.length));
  }

  /** From entries that were checked: offset, source, line, column, from 0; ascending. */
  static of(sources: readonly string[], entries: readonly number[]): SourceMap {
    return new SourceMap(sources, entries);
  }

  /** Calls `look` for each entry; line and column from 0, null for nobody's code. */
  each(look: (offset: number, position: Position | null) => void): void {
    for (let i = 0; i < this.#entries.length; i += FIELDS) {
      const source = this.#sources[this.#entries[i + 1] as number];
      const line = this.#entries[i + 2] as number;
      const column = this.#entries[i + 3] as number;
      look(this.#entries[i] as number, source === undefined ? null : { source, line, column });
    }
  }

  /**
   * The source of the instruction at `offset`. Code of a library that was compiled into a user's
   * function is told as the user's line before it; `bodyFrom` is where that function begins, and what
   * stands before that is another function's.
   */
  locate(offset: number, bodyFrom = -1): Position | null {
    const begin = bodyFrom < 0 ? offset : bodyFrom;
    const nearest = lastAtMost(this.#entries, FIELDS, 0, offset);
    const isOther = nearest >= 0 && (this.#entries[nearest] as number) < bodyFrom;
    const first = isOther ? null : this.#at(nearest);
    if (first !== null && !isLibrary(first.source)) return first;
    for (let i = nearest - FIELDS; i >= 0; i -= FIELDS) {
      if ((this.#entries[i] as number) < begin) break;
      const position = this.#at(i);
      if (position !== null && !isLibrary(position.source)) return position;
    }
    // a function's first instructions belong to no line of their own
    for (
      let i = nearest + FIELDS, tries = 0;
      first === null && tries < AHEAD;
      i += FIELDS, tries++
    ) {
      const position = this.#at(i);
      if (position !== null) return position;
    }
    return first;
  }

  #at(i: number): Position | null {
    if (i < 0) return null;
    const source = this.#sources[this.#entries[i + 1] as number];
    if (source === undefined) return null;
    const line = (this.#entries[i + 2] as number) + 1;
    return { source, line, column: (this.#entries[i + 3] as number) + 1 };
  }
}

/** Whether a source belongs to AssemblyScript's library or the SDK. */
export function isLibrary(source: string): boolean {
  return source.startsWith("~lib/");
}

/** `file:line:column` */
export function positionText({ source, line, column }: Position): string {
  return `${source}:${line}:${column}`;
}

/** Decodes `mappings`, which for a module are one line. */
function decode(mappings: string, sources: number): number[] {
  const entries: number[] = [];
  let offset = 0;
  let source = 0;
  let line = 0;
  let column = 0;
  for (const segment of mappings.split(",")) {
    const fields = vlq(segment);
    if (fields.length === 0) continue;
    offset += fields[0] as number;
    if (fields.length < 4) {
      entries.push(offset, -1, 0, 0);
      continue;
    }
    source += fields[1] as number;
    line += fields[2] as number;
    column += fields[3] as number;
    if (source < 0 || source >= sources || line < 0) throw new Error("the source map is damaged");
    entries.push(offset, source, line, column);
  }
  return entries;
}

function vlq(segment: string): number[] {
  const fields: number[] = [];
  let value = 0;
  let shift = 1;
  for (let i = 0; i < segment.length; i++) {
    const digit = DIGITS.get(segment.charCodeAt(i));
    if (digit === undefined || shift > 2 ** 35) throw new Error("the source map is damaged");
    value += (digit & 31) * shift;
    if (digit >= 32) {
      shift *= 32;
      continue;
    }
    const half = Math.floor(value / 2);
    fields.push(value % 2 === 1 ? -half : half);
    value = 0;
    shift = 1;
  }
  return fields;
}

/** A place as a trap's reason names it, by the module's own lines or none: see `reasonPlace`. */
const PLACE =
  /(?:at [^\s()]+:\d+:\d+ )?\(byte 0x([0-9a-f]{1,8}) of the module(?:, from 0x([0-9a-f]{1,8}))?\)/g;

/** What a trap's reason says of a place in the original module. */
export function reasonPlace(offset: number, bodyFrom: number): string {
  return `(byte 0x${offset.toString(16)} of the module, from 0x${bodyFrom.toString(16)})`;
}

/**
 * Puts file, line and column in the place of byte offsets in a trap's reason, where the map knows: a map
 * beside the module says the file's path, where the module's own lines have only its name.
 */
export function withPositions(reason: string, map: SourceMap): string {
  return reason.replaceAll(PLACE, (whole, at: string, from: string | undefined) => {
    const offset = Number.parseInt(at, 16);
    const bodyFrom = from === undefined ? offset : Number.parseInt(from, 16);
    const position = map.locate(offset, bodyFrom);
    return position === null ? whole : `at ${positionText(position)}`;
  });
}
