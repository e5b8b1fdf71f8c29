// A file system in memory, for the folder source and the filter registry. Writing tells the watchers.

import type { FileSystem, Tree } from "../../../src/control/files/file-system.ts";

const ROOT = "/mesh";

/** Paths are relative to `/mesh`, or absolute. */
export class MemoryFiles implements FileSystem {
  readonly #files = new Map<string, { bytes: Uint8Array; version: number }>();
  readonly #watchers = new Map<string, Set<() => void>>();
  #version = 0;
  /** Set to make `tree` fail. */
  broken: string | null = null;

  write(path: string, content: string | Uint8Array): void {
    const full = this.resolve(ROOT, path);
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    this.#files.set(full, { bytes, version: this.#version++ });
    this.#tell(full);
  }

  remove(path: string): void {
    const full = this.resolve(ROOT, path);
    this.#files.delete(full);
    this.#tell(full);
  }

  /** Folders that somebody watches. */
  get watched(): readonly string[] {
    return [...this.#watchers.keys()].sort();
  }

  tree(folder: string): Promise<Tree> {
    if (this.broken !== null) return Promise.reject(new Error(this.broken));
    const inside = [...this.#files].filter(([path]) => path.startsWith(`${folder}/`)).sort();
    const files = inside.map(([path, { bytes, version }]) => ({
      path: path.slice(folder.length + 1),
      bytes: bytes.length,
      stamp: String(version),
    }));
    const folders = new Set([folder, ...inside.map(([path]) => this.folderOf(path))]);
    return Promise.resolve({ files, folders: [...folders] });
  }

  read(path: string, maxBytes: number): Promise<Uint8Array> {
    const file = this.#files.get(path);
    if (file === undefined) return Promise.reject(new Error(`Cannot read ${path}: no such file`));
    if (file.bytes.length > maxBytes) {
      return Promise.reject(new Error(`Cannot read ${path}: over ${maxBytes} bytes`));
    }
    return Promise.resolve(file.bytes.slice());
  }

  watch(folder: string, changed: () => void): () => void {
    let watchers = this.#watchers.get(folder);
    if (watchers === undefined) this.#watchers.set(folder, watchers = new Set());
    watchers.add(changed);
    return () => {
      watchers.delete(changed);
      if (watchers.size === 0) this.#watchers.delete(folder);
    };
  }

  resolve(folder: string, path: string): string {
    const parts = (path.startsWith("/") ? path : `${folder}/${path}`).split("/");
    const out: string[] = [];
    for (const part of parts) {
      if (part === "..") out.pop();
      else if (part !== "" && part !== ".") out.push(part);
    }
    return `/${out.join("/")}`;
  }

  folderOf(path: string): string {
    return path.slice(0, path.lastIndexOf("/"));
  }

  #tell(path: string): void {
    for (const changed of [...this.#watchers.get(this.folderOf(path)) ?? []]) changed();
  }
}
