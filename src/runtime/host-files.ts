// Files that other programs of a host read while we write them: whole or not at all, with the mode and
// owner that they have. For the CNI plugin's installation; see `HostFiles` in `src/cni/installer.ts`.

import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, chown, copyFile, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errorText } from "../core/errors.ts";
import { readBounded, systemFiles } from "./files.ts";

const MAX_TEXT_BYTES = 1024 * 1024;

/** What was seen of an executable when it was compared whole. */
type Stamp = string;

/** The machine's files. */
export function hostFiles() {
  /** By target: both files as they were when they were the same. */
  const same = new Map<string, Stamp>();
  const { watch } = systemFiles();
  return {
    watch,
    list: (folder: string) => named(`Cannot list ${folder}`, () => readdir(folder)),
    async read(path: string): Promise<string | null> {
      const found = await stat(path).catch(() => null);
      if (found === null || !found.isFile()) return null;
      return new TextDecoder().decode(await readBounded(path, MAX_TEXT_BYTES));
    },
    write(path: string, text: string, mode: number, exactly: boolean): Promise<void> {
      return named(`Cannot write ${path}`, async () => {
        const before = await stat(path).catch(() => null);
        const bits = before === null || exactly ? mode : before.mode & 0o7777;
        await replace(path, async (temporary) => {
          const file = await open(temporary, "wx", 0o600);
          try {
            await file.writeFile(text);
            await file.sync();
          } finally {
            await file.close();
          }
          await chmod(temporary, bits);
          const made = await stat(temporary);
          if (before !== null && (made.uid !== before.uid || made.gid !== before.gid)) {
            await chown(temporary, before.uid, before.gid);
          }
        });
      });
    },
    install(from: string, to: string): Promise<boolean> {
      return named(`Cannot install ${to}`, async () => {
        const stamp = async () => `${await stampOf(from)} ${await stampOf(to)}`;
        if (same.get(to) === await stamp()) return false;
        const equal = await equalFiles(from, to);
        if (!equal) {
          await replace(to, async (temporary) => {
            await copyFile(from, temporary);
            const file = await open(temporary, "r+");
            try {
              await file.sync();
            } finally {
              await file.close();
            }
          });
        }
        await chmod(to, 0o755);
        same.set(to, await stamp());
        return !equal;
      });
    },
    remove: (path: string) => named(`Cannot remove ${path}`, () => rm(path, { force: true })),
  };
}

/** Makes `path` anew beside itself, under a name that no runtime reads, and puts it in place. */
async function replace(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `.tulle-${randomBytes(6).toString("hex")}`);
  try {
    await make(temporary);
    await rename(temporary, path);
  } catch (e) {
    await rm(temporary, { force: true });
    throw e;
  }
}

async function stampOf(path: string): Promise<Stamp> {
  const found = await stat(path).catch(() => null);
  return found === null ? "-" : `${found.size}/${found.mtimeMs}/${found.ino}/${found.mode}`;
}

async function equalFiles(a: string, b: string): Promise<boolean> {
  const sizes = await Promise.all([a, b].map((path) => stat(path).then((s) => s.size, () => -1)));
  if (sizes[0] !== sizes[1]) return false;
  const [x, y] = await Promise.all([a, b].map(sha256));
  return x === y;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path)) hash.update(part as Uint8Array);
  return hash.digest("hex");
}

async function named<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (e) {
    throw new Error(`${what}: ${errorText(e)}`, { cause: e });
  }
}
