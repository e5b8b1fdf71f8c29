// What `tulle inject` and `tulle uninject` read: files, folders and standard input, as text with its
// place. Read whole before anything is printed; knows nothing of what is in it.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CliError, EXIT_CONFIG, fileTrouble } from "./failure.ts";
import { readStdin } from "./stdin.ts";

const MAX_BYTES = 64 * 1024 * 1024;

/** Files, folders (their *.yaml, *.yml and *.json, in order) and `-`. */
export async function readInputs(
  operands: readonly string[],
): Promise<{ readonly where: string; readonly text: string }[]> {
  const inputs: { where: string; text: string }[] = [];
  let total = 0;
  const read = async (path: string, where: string) => {
    const text = path === "-" ? await readStdin(MAX_BYTES) : await readFile(path, "utf8");
    total += text.length;
    if (total > MAX_BYTES) throw new Error(`there are over ${MAX_BYTES} bytes`);
    inputs.push({ where, text });
  };
  for (const path of operands) {
    try {
      if (path === "-") await read("-", "standard input");
      else if ((await stat(path)).isDirectory()) {
        const names = (await readdir(path, { recursive: true }))
          .filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
        if (names.length === 0) {
          throw new CliError(`${path} has no *.yaml, *.yml or *.json`, { exit: EXIT_CONFIG });
        }
        for (const name of names) await read(join(path, name), join(path, name));
      } else await read(path, path);
    } catch (e) {
      if (e instanceof CliError) throw e;
      throw new CliError(`${path} ${fileTrouble(e)}`, {
        exit: EXIT_CONFIG,
        cause: e,
      });
    }
  }
  return inputs;
}
