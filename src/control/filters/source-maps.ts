// Source maps that lie beside the modules' files, as `tulle filter build` writes them: with them the
// reason of a trap that a proxy told by a byte offset is shown by file, line and column.

import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { FileSystem } from "../files/file-system.ts";

/** Makes reasons of traps readable; made of a map's text. Throws for what is no map. */
export type MapReader = (
  text: string,
  place: (source: string) => string,
) => (reason: string) => string;

const MAX_BYTES = 4 * 1024 * 1024;
/** Maps that are kept; the oldest goes first. */
const MAX_MAPS = 64;

/** The maps of the modules that were read from files. */
export class SourceMaps {
  readonly #files: FileSystem;
  readonly #read: MapReader | null;
  readonly #log: Logger;
  readonly #explain = new Map<string, (reason: string) => string>();

  /** `read` null: reasons stay as they are. */
  constructor(files: FileSystem, read: MapReader | null, log: Logger) {
    this.#files = files;
    this.#read = read;
    this.#log = log;
  }

  /** Reads the map beside the module's file `path`, which configuration calls `file`. Never rejects. */
  async note(sha256: string, path: string, file: string): Promise<void> {
    if (this.#read === null || this.#explain.has(sha256)) return;
    const bytes = await this.#files.read(`${path}.map`, MAX_BYTES).catch(() => null);
    if (bytes === null) return;
    const folder = file.slice(0, file.lastIndexOf("/") + 1);
    try {
      const text = new TextDecoder().decode(bytes);
      this.#explain.set(sha256, this.#read(text, (source) => tidy(folder + source)));
    } catch (e) {
      this.#log.warn(`${file}.map is not read: ${errorText(e)}`);
      return;
    }
    const [oldest] = this.#explain.keys();
    if (this.#explain.size > MAX_MAPS && oldest !== undefined) this.#explain.delete(oldest);
  }

  /** A reason that a proxy told of the module, with the source's line where its map is known. */
  explain(sha256: string, reason: string): string {
    return this.#explain.get(sha256)?.(reason) ?? reason;
  }
}

/** `../../filters/build/../gate/index.ts` → `filters/gate/index.ts`. */
function tidy(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "." && part !== "") parts.push(part);
  }
  return parts.join("/");
}
