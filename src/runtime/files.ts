// Folders for the control plane: reading and watching one of YAML, and one of its own that only its
// owner may read. The same on Node and Deno.

import { randomBytes } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { errorText } from "../core/errors.ts";

const MAX_FILES = 10_000;
const MAX_DEPTH = 8;

/** A file of a folder, found and not read. */
export interface FoundFile {
  readonly path: string;
  readonly bytes: number;
  readonly stamp: string;
}

/** A folder with everything below it, hidden files left out. Rejects with one line. */
export async function readTree(
  folder: string,
): Promise<{ files: FoundFile[]; folders: string[] }> {
  const files: FoundFile[] = [];
  const folders: string[] = [];
  const visit = async (dir: string, depth: number): Promise<void> => {
    folders.push(dir);
    const names = (await readdir(dir)).filter((name) => !name.startsWith(".")).sort();
    for (const name of names) {
      const path = join(dir, name);
      // Follows links, as ConfigMap volumes need; gone meanwhile is no error.
      const found = await stat(path).catch(() => null);
      if (found === null) continue;
      if (found.isDirectory()) {
        if (depth < MAX_DEPTH) await visit(path, depth + 1);
      } else if (found.isFile()) {
        if (files.length >= MAX_FILES) throw new Error(`it has more than ${MAX_FILES} files`);
        files.push({
          path: relative(folder, path),
          bytes: found.size,
          stamp: `${found.mtimeMs} ${found.ctimeMs} ${found.size} ${found.ino}`,
        });
      }
    }
  };
  try {
    await visit(resolve(folder), 0);
  } catch (e) {
    throw new Error(`Cannot read the folder ${folder}: ${errorText(e)}`, { cause: e });
  }
  return { files, folders };
}

/** Rejects with one line when the file cannot be read or is over `maxBytes`. */
export async function readBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    const { size } = await stat(path);
    if (size > maxBytes) throw new Error(`it has ${size} bytes, over ${maxBytes}`);
    bytes = new Uint8Array(await readFile(path));
  } catch (e) {
    throw new Error(`Cannot read ${path}: ${errorText(e)}`, { cause: e });
  }
  if (bytes.length > maxBytes) {
    throw new Error(`Cannot read ${path}: it grew over ${maxBytes} bytes`);
  }
  return bytes;
}

/** Watchers of one folder that are shared by all who watch it. */
interface SharedWatch {
  readonly watcher: FSWatcher | null;
  readonly listeners: Set<() => void>;
}

/** What `control/files` and `control/filters` need of a file system; see `FileSystem` there. */
export function systemFiles() {
  const watches = new Map<string, SharedWatch>();
  return {
    tree: readTree,
    read: readBounded,
    watch(folder: string, changed: () => void): () => void {
      let shared = watches.get(folder);
      if (shared === undefined) watches.set(folder, shared = openWatch(folder));
      const held = shared;
      held.listeners.add(changed);
      return () => {
        held.listeners.delete(changed);
        if (held.listeners.size > 0 || watches.get(folder) !== held) return;
        watches.delete(folder);
        held.watcher?.close();
      };
    },
    resolve: (folder: string, path: string) => resolve(folder, path),
    folderOf: (path: string) => dirname(path),
  };
}

function openWatch(folder: string): SharedWatch {
  const listeners = new Set<() => void>();
  let watcher: FSWatcher | null = null;
  try {
    watcher = watch(folder, { persistent: false }, () => {
      for (const listener of [...listeners]) listener();
    });
    // A watched folder that goes away ends the watch; whoever polls finds out.
    watcher.on("error", () => {});
  } catch {
    // It cannot be watched: not there, or no watches left. Polling does for it.
  }
  return { watcher, listeners };
}

/** A folder that only its owner may read; see `StateDir` of the control plane. */
export interface PrivateDir {
  readonly path: string;
  read(name: string): Promise<Uint8Array | null>;
  write(name: string, bytes: Uint8Array): Promise<void>;
  list(folder: string): Promise<readonly string[]>;
  remove(name: string): Promise<void>;
}

const MAX_PRIVATE_BYTES = 64 * 1024 * 1024;

/** Makes the folder (0700) when it is missing. Rejects when others may write to it. */
export async function openPrivateDir(path: string): Promise<PrivateDir> {
  const root = resolve(path);
  try {
    await makeFolder(root);
    const { mode } = await stat(root);
    if ((mode & 0o022) !== 0) throw new Error("others may write to it: chmod 700 it");
  } catch (e) {
    throw new Error(`Cannot use the state folder ${path}: ${errorText(e)}`, { cause: e });
  }
  const at = (name: string) => {
    const full = resolve(root, name);
    if (!full.startsWith(root + "/")) throw new Error(`${name} is not inside of the state folder`);
    return full;
  };
  return {
    path: root,
    async read(name) {
      try {
        return await readBounded(at(name), MAX_PRIVATE_BYTES);
      } catch (e) {
        if (isMissing(e)) return null;
        throw e;
      }
    },
    write: (name, bytes) => writePrivate(at(name), bytes),
    async list(folder) {
      try {
        return (await readdir(at(folder))).sort();
      } catch (e) {
        if (isMissing(e)) return [];
        throw e;
      }
    },
    remove: (name) => rm(at(name), { force: true }),
  };
}

/** With its parents. Not `recursive`, which never returns where nothing can be made (`/proc`). */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (e) {
    if (e instanceof Error && "code" in e && e.code === "EEXIST") return;
    const parent = dirname(path);
    if (!isMissing(e) || parent === path || (await isFolder(parent))) throw e;
    await makeFolder(parent);
    await mkdir(path, { mode: 0o700 });
  }
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then((s) => s.isDirectory(), () => false);
}

/** Whole or not at all, on disk before it is seen, and never readable by others. */
async function writePrivate(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    await makeFolder(dirname(path));
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (e) {
    await rm(temporary, { force: true });
    throw new Error(`Cannot write ${path}: ${errorText(e)}`, { cause: e });
  }
}

function isMissing(e: unknown): boolean {
  for (let error = e; error instanceof Error; error = error.cause) {
    if ("code" in error && error.code === "ENOENT") return true;
  }
  return false;
}

/** Reads files that belong to the program, beside the module whose `import.meta.url` is given. */
export function readBeside(url: string, path: string): Promise<Uint8Array> {
  return readBounded(fileURLToPath(new URL(path, url)), MAX_PRIVATE_BYTES);
}
