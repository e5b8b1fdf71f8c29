// Why a filter stopped, in one line with a name that people can act on.

import { readLines } from "./line-map.ts";
import {
  isLibrary,
  type OffsetMap,
  type OffsetNumbers,
  positionText,
  reasonPlace,
} from "./source-map.ts";

/** Raised by a host function when a filter does what it may not; ends the filter's call. */
export class HostTrap extends Error {
  constructor(message: string) {
    super(message);
    this.name = "HostTrap";
  }
}

/** Raised by `config_refuse` and turned into a `FilterRefused` by whoever started the instance. */
export class ConfigRefusal extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ConfigRefusal";
  }
}

/** What ended a call. */
export interface Trap {
  readonly reason: string;
  readonly isFuel: boolean;
}

/** Reads what was thrown out of a hook. `fuelLeft` is the fuel global's value afterwards. */
export function trapOf(
  thrown: unknown,
  hook: string,
  fuelLeft: number,
  budget: number,
  places: Places,
  memory: MemoryUse | null = null,
): Trap {
  if (fuelLeft < 0) {
    return {
      reason: `${hook} used more than ${budget} instructions (out of fuel)${where(thrown, places)}`,
      isFuel: true,
    };
  }
  if (thrown instanceof RangeError && /call stack/i.test(thrown.message)) {
    const reason = `${hook} recursed without end (the stack is exhausted)`;
    return { reason: reason + where(thrown, places), isFuel: false };
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return {
    reason: `${hook} trapped: ${printable(message)}${memoryText(memory)}${where(thrown, places)}`,
    isFuel: false,
  };
}

/** A guest's memory when it trapped, and what it may have, in pages of 64 KiB. */
export interface MemoryUse {
  readonly pages: number;
  readonly maxPages: number;
}

/** Said when the next doubling would not fit: a guest only knows that it could not grow. */
function memoryText(use: MemoryUse | null): string {
  if (use === null || use.pages * 2 <= use.maxPages) return "";
  return ` (its memory is full: ${use.pages} of ${use.maxPages} pages)`;
}

/** One short line of ASCII: it ends in logs and in a header, and the filter may have written it. */
export function printable(text: string): string {
  return text.slice(0, 300).replace(/[^\x20-\x7e]+/g, " ");
}

/** Turns a place in the module that runs into one that its author knows. */
export interface Places {
  /** Offset in the original module, or -1. */
  original(rewritten: number): number;
  /** Where the function begins that has this original offset. */
  bodyOf(original: number): number;
  /** `file:line:column` by a map that somebody has beside the module, or null. */
  source(original: number): string | null;
  /** `file:line:column` by the lines that the module carries, or null. */
  own(original: number): string | null;
  /** What another thread needs to know the same places. */
  plain(): PlainPlaces | null;
}

/** What `placesOf` is made of, apart from what somebody has beside the module. */
export interface PlainPlaces {
  readonly moved: OffsetNumbers;
  readonly lines: Uint8Array | null;
}

/** `file:line:column` of an offset in the original module, or null. `bodyFrom`: its function's begin. */
export type Locate = (sha256: string, offset: number, bodyFrom: number) => string | null;

/** For a module that was not loaded by its digest. */
export const NOWHERE: Places = {
  original: (at) => at,
  bodyOf: (at) => at,
  source: () => null,
  own: () => null,
  plain: () => null,
};

/** The places of one module; `lines` are those that it carries. */
export function placesOf(
  sha256: string,
  moved: OffsetMap,
  locate: Locate | null,
  lines: Uint8Array | null = null,
): Places {
  return {
    original: (rewritten) => moved.toOriginal(rewritten),
    bodyOf: (original) => moved.bodyOf(original),
    source: (original) => locate?.(sha256, original, moved.bodyOf(original)) ?? null,
    own: (original) => {
      const map = lines === null ? null : readLines(lines);
      const position = map?.locate(original, moved.bodyOf(original)) ?? null;
      return position === null || isLibrary(position.source) ? null : positionText(position);
    },
    plain: () => ({ moved: moved.plain(), lines }),
  };
}

const FRAME = /^\s*at (?:(\S+) \()?wasm:\/\/[^)\s]*:wasm-function\[(\d+)\]:0x([0-9a-f]+)\)?$/gm;

/** The innermost function on the stack that is not the library's, by the name section. */
function where(thrown: unknown, places: Places): string {
  if (!(thrown instanceof Error) || thrown.stack === undefined) return "";
  const frames = [...thrown.stack.matchAll(FRAME)].map(([, name, index, at]) => ({
    name: name ?? `function ${index}`,
    at: places.original(Number.parseInt(at ?? "", 16)),
  })).filter((frame) => frame.at >= 0);
  const frame = frames.find(({ name }) => !isLibrary(name)) ?? frames[0];
  if (frame === undefined) return "";
  const name = printable(frame.name);
  const source = places.source(frame.at);
  if (source !== null) return `, in ${name} at ${printable(source)}`;
  const own = places.own(frame.at);
  const place = reasonPlace(frame.at, places.bodyOf(frame.at));
  return `, in ${name} ${own === null ? "" : `at ${printable(own)} `}${place}`;
}
