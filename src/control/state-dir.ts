// What the control plane keeps between starts: keys, the CA, modules and rollouts. Implemented by
// `runtime/files.ts`; in memory for tests.

/** A folder that only the control plane reads. Names use `/`; they never leave the folder. */
export interface StateDir {
  /** Null: there is no such file. */
  read(name: string): Promise<Uint8Array | null>;
  /** Whole or not at all, readable by the owner only. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Names of the files in a folder; none when it is not there. */
  list(folder: string): Promise<readonly string[]>;
  remove(name: string): Promise<void>;
}

/** A folder that is forgotten. */
export function memoryStateDir(): StateDir {
  const files = new Map<string, Uint8Array>();
  return {
    read: (name) => Promise.resolve(files.get(name)?.slice() ?? null),
    write: (name, bytes) => Promise.resolve(void files.set(name, bytes.slice())),
    list: (folder) =>
      Promise.resolve(
        [...files.keys()].filter((f) => f.startsWith(`${folder}/`)).map((f) =>
          f.slice(folder.length + 1)
        ),
      ),
    remove: (name) => Promise.resolve(void files.delete(name)),
  };
}
