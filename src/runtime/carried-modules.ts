// Filter modules that come with the package, read once at start. In the sources and in the package they
// lie in `filters/build`; who reads them decides what they are for.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const SOURCES = import.meta.url.endsWith(".ts");

/** Where the compiled filters of the package are. */
export const CARRIED_FOLDER = fileURLToPath(
  new URL(SOURCES ? "../../filters/build/" : "../filters/build/", import.meta.url),
);

/** A module and its digest: 64 lower-case hex digits. */
export interface CarriedFile {
  readonly sha256: string;
  readonly bytes: Uint8Array;
}

/** Reads `<name>.wasm`. Rejects with one line when it cannot be read. */
export async function readCarriedModule(name: string): Promise<CarriedFile> {
  const path = `${CARRIED_FOLDER}${name}.wasm`;
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await readFile(path));
  } catch (e) {
    throw new Error(`Read ${path} failed: ${(e as Error).message}`, { cause: e });
  }
  return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes };
}
