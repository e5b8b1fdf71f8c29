// Filter modules on disk, by digest, so that a proxy that starts again need not fetch them. Several
// proxies may share a folder. What is read is checked by who asked (`proxy/discovery/modules.ts`).

import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Files that are kept; the ones that were not used for the longest go first. */
const MAX_FILES = 64;
/** Larger ones are neither written nor read: no module may be as large. */
const MAX_BYTES = 16 * 1024 * 1024;

/** A folder of modules. */
export interface ModuleDir {
  /** Null: it is not there. Touches the file, so that it stays. */
  get(sha256: string): Promise<Uint8Array | null>;
  /** Whole or not at all. Makes the folder when it is missing. */
  put(sha256: string, module: Uint8Array): Promise<void>;
}

/** Nothing is touched before the first `get` or `put`. */
export function moduleDir(dir: string): ModuleDir {
  const pathOf = (sha256: string) => {
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Error("a digest has 64 lower-case hex digits");
    return join(dir, `${sha256}.wasm`);
  };
  return {
    async get(sha256) {
      const path = pathOf(sha256);
      try {
        if ((await stat(path)).size > MAX_BYTES) return null;
        const module = new Uint8Array(await readFile(path));
        const now = new Date();
        // Another proxy may not be allowed to touch it, which only costs its place in the order.
        await utimes(path, now, now).catch(() => {});
        return module;
      } catch (e) {
        if (isMissing(e)) return null;
        throw e;
      }
    },
    async put(sha256, module) {
      if (module.length > MAX_BYTES) return;
      const path = pathOf(sha256);
      await mkdir(dir, { recursive: true });
      const temporary = `${path}.${randomBytes(6).toString("hex")}`;
      try {
        await writeFile(temporary, module, { flag: "wx" });
        await rename(temporary, path);
      } catch (e) {
        await rm(temporary, { force: true });
        throw e;
      }
      await prune(dir);
    },
  };
}

async function prune(dir: string): Promise<void> {
  const names = (await readdir(dir)).filter((n) => /^[0-9a-f]{64}\.wasm$/.test(n));
  if (names.length <= MAX_FILES) return;
  const files = await Promise.all(names.map(async (name) => {
    const path = join(dir, name);
    // Gone meanwhile: another proxy prunes too.
    return { path, usedMs: await stat(path).then((s) => s.mtimeMs, () => 0) };
  }));
  files.sort((a, b) => b.usedMs - a.usedMs);
  for (const { path } of files.slice(MAX_FILES)) await rm(path, { force: true });
}

function isMissing(e: unknown): boolean {
  return e instanceof Error && "code" in e && e.code === "ENOENT";
}
