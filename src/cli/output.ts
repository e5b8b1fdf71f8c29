// Files that commands write. What cannot be written is one line with its path.

import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CliError, writeTrouble } from "./failure.ts";

/** How a file is written. */
export interface OutputOptions {
  /** Its rights, whatever the umask says. */
  readonly mode?: number;
  /** It must not be there. */
  readonly isNew?: boolean;
  /** Makes its folder. */
  readonly inNewFolder?: boolean;
}

/** Writes a file. Rejects with a `CliError` that says why it cannot be. */
export async function writeOutput(
  path: string,
  data: string | Uint8Array,
  { mode, isNew = false, inNewFolder = false }: OutputOptions = {},
): Promise<void> {
  try {
    if (inNewFolder) await mkdir(dirname(path), { recursive: true });
    await writeFile(path, data, {
      flag: isNew ? "wx" : "w",
      ...(mode === undefined ? {} : { mode }),
    });
    if (mode !== undefined) await chmod(path, mode);
  } catch (e) {
    throw new CliError(`${path} ${writeTrouble(e)}`, { cause: e });
  }
}
