// What the folder source needs of a file system. Implemented by `runtime/files.ts`; in memory for tests.

/** A file of a folder, found and not read. */
export interface FileEntry {
  /** Relative to the folder, with `/`. */
  readonly path: string;
  readonly bytes: number;
  /** Differs whenever the file was written or replaced. */
  readonly stamp: string;
}

/** A folder with everything below it. */
export interface Tree {
  /** In the order of their paths. */
  readonly files: readonly FileEntry[];
  /** The folder and those below it, to be watched. */
  readonly folders: readonly string[];
}

export interface FileSystem {
  /** Hidden files and folders are left out. Rejects when the folder cannot be read. */
  tree(folder: string): Promise<Tree>;
  /** Rejects with one line when it cannot be read or is over `maxBytes`. */
  read(path: string, maxBytes: number): Promise<Uint8Array>;
  /**
   * Calls soon after something in the folder changed, not below it; may call for nothing. Where the
   * folder cannot be watched it never calls. The result ends it.
   */
  watch(folder: string, changed: () => void): () => void;
  /** A path as seen from a folder; absolute paths stay. */
  resolve(folder: string, path: string): string;
  /** The folder that a file is in. */
  folderOf(path: string): string;
}
