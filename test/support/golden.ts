// Golden files: text that is reviewed, and compared byte by byte. `TULLE_UPDATE_GOLDEN=1` in front of
// a test writes what it made instead.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import * as assert from "uvu/assert";

/** Fails unless `actual` is what the file has. */
export async function golden(file: URL, actual: string): Promise<void> {
  if (process.env.TULLE_UPDATE_GOLDEN === "1") {
    await mkdir(dirname(file.pathname), { recursive: true });
    await writeFile(file, actual);
    return;
  }
  assert.fixture(actual, await readFile(file, "utf8"));
}
