// The lines of a module's source, as a module carries them: a custom section that the compiler makes of
// its source map, so that a trap in any proxy names file, line and column. Only lines of the author are
// in it, as differences, a few bytes each. Checked when a module is loaded, read when one traps.

import { FilterRefused } from "../../src/core/filter.ts";
import { Reader } from "./reader.ts";
import { isLibrary, SourceMap } from "./source-map.ts";
import { Writer } from "./writer.ts";

/** The custom section's name. */
export const LINES_SECTION = "tulle.lines";
/** Bounds of a section; past them a module is refused. */
export const LINE_LIMITS = {
  bytes: 256 * 1024,
  sources: 256,
  nameBytes: 256,
  /** Of an offset, a line, a column. */
  value: 2 ** 30,
} as const;

const VERSION = 1;
/** Stands for all libraries. */
const LIBRARY = "~lib/";

/**
 * The section's contents for a map: a version (1); how many sources and their names; how many entries,
 * ascending by offset. An entry is the difference of its offset to the one before, twice, plus 1 when
 * the source is another one; then that source's number, counted from 1, 0 for a library's code; and,
 * but for 0, the differences of line and column to the last that were given, with the sign in the
 * lowest bit. Equal places that follow each other in one function are one entry; `starts` are where the
 * functions begin, ascending. Null when the map is larger than a section may be.
 */
export function encodeLines(map: SourceMap, starts: readonly number[]): Uint8Array | null {
  const names: string[] = [];
  const numberOf = (source: string) => {
    const name = shown(source);
    const known = names.indexOf(name);
    return known >= 0 ? known + 1 : names.push(name);
  };
  const entries = new Writer();
  let count = 0;
  let next = 0;
  let last = { offset: 0, source: -1, line: 0, column: 0 };
  map.each((offset, position) => {
    if (position === null) return; // it is told by what stands before or after it
    const source = isLibrary(position.source) ? 0 : numberOf(position.source);
    const { line, column } = source === 0 ? last : position;
    const isSame = source === last.source && line === last.line && column === last.column;
    let isFirst = false;
    for (; offset >= (starts[next] ?? Infinity); next++) isFirst = true;
    if (isSame && !isFirst) return;
    entries.u32((offset - last.offset) * 2 + (source === last.source ? 0 : 1));
    if (source !== last.source) entries.u32(source);
    if (source !== 0) entries.u32(zigzag(line - last.line)).u32(zigzag(column - last.column));
    last = { offset, source, line, column };
    count++;
  });
  const out = new Writer().u32(VERSION).u32(names.length);
  for (const name of names) out.name(name);
  out.u32(count).bytes(entries.view());
  const fits = out.length <= LINE_LIMITS.bytes && names.length <= LINE_LIMITS.sources &&
    names.every((name) => name.length <= LINE_LIMITS.nameBytes);
  return fits ? out.finish() : null;
}

/** Reads a section's contents. Throws `FilterRefused` for what is none; of an unknown version: null. */
export function readLines(contents: Uint8Array): SourceMap | null {
  const { bytes, sources: most, nameBytes, value } = LINE_LIMITS;
  if (contents.length > bytes) {
    throw new FilterRefused(
      `the section "${LINES_SECTION}" has ${contents.length} bytes; ${bytes} are allowed`,
    );
  }
  const r = new Reader(contents);
  const refuse = (what: string): never => {
    throw new FilterRefused(`the section "${LINES_SECTION}" is damaged: ${what}`);
  };
  try {
    if (r.u32() !== VERSION) return null;
    const names = [LIBRARY];
    for (let n = r.count("sources", most); n > 0; n--) names.push(r.name(nameBytes));
    const entries: number[] = [];
    let offset = 0;
    let source = -1;
    let line = 0;
    let column = 0;
    for (let n = r.count("entries", bytes); n > 0; n--) {
      const step = r.u32();
      offset += Math.floor(step / 2);
      if (step % 2 === 1) source = r.u32();
      if (source < 0 || source >= names.length) refuse("an entry names no source");
      if (source !== 0) {
        line += unzigzag(r.u32());
        column += unzigzag(r.u32());
      }
      const fits = offset <= value && line >= 0 && line <= value && column >= 0 && column <= value;
      if (!fits) refuse("an entry is out of bounds");
      if (source === 0) entries.push(offset, 0, 0, 0);
      else entries.push(offset, source, line, column);
    }
    if (!r.done) refuse("it has more bytes than entries");
    return SourceMap.of(names, entries);
  } catch (e) {
    if (e instanceof FilterRefused && e.message.startsWith("the section")) throw e;
    return refuse(e instanceof Error ? e.message : String(e));
  }
}

/** The module with these lines at its end. */
export function withLines(module: Uint8Array, lines: Uint8Array): Uint8Array<ArrayBuffer> {
  const section = new Writer().name(LINES_SECTION).bytes(lines);
  return new Writer().bytes(module).section(0, section).finish();
}

/** A name without what separates words in a trap's reason. */
function shown(source: string): string {
  return source.replace(/[^\x21-\x27\x2a-\x7e]+/g, "_");
}

function zigzag(n: number): number {
  return n < 0 ? -n * 2 - 1 : n * 2;
}

function unzigzag(n: number): number {
  return n % 2 === 1 ? -(n + 1) / 2 : n / 2;
}
