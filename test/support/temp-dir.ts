// Folders for tests that read and write files. Each is its own and is gone when the test ends.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new empty folder. `await using dir = await tempDir("keys")` removes it at the end of the block. */
export interface TempDir extends AsyncDisposable {
  readonly path: string;
  /** A path inside it. */
  join(...parts: string[]): string;
}

/** Makes a folder under the system's temporary one; `label` shows in its name. */
export async function tempDir(label: string): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), `tulle-${label}-`));
  return {
    path,
    join: (...parts) => join(path, ...parts),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}
