// The types of `tulle/testing`, for dist/types: what tsc declares for the harness and for what its types
// name, followed from file to file, so that the package needs no other for them. Part of the build.

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";
import process from "node:process";

/** The harness, and where its declaration lies in the package; as in package.json's `exports`. */
const ENTRY = "wasm/sdk/testing.ts";
export const TESTING_TYPES = "dist/types/wasm/sdk/testing.d.ts";
/** The test runner that the harness hands on, as it lies in its package. */
const RUNNER: Readonly<Record<string, string>> = {
  "uvu": "uvu/index.d.ts",
  "uvu/assert": "uvu/assert/index.d.ts",
};
const SPECIFIER = /(\bfrom |\bimport\(|^import )"([^"]+)"/gm;

/** Writes the declarations below `<root>/dist/types`. Resolves with their paths, relative to there. */
export async function buildTypes(root: string): Promise<readonly string[]> {
  const dir = await mkdtemp(join(tmpdir(), "tulle-types-"));
  try {
    await emit(root, dir);
    const done = new Map<string, string>();
    const follow = async (path: string): Promise<void> => {
      if (done.has(path)) return;
      done.set(path, "");
      const runner = Object.entries(RUNNER).find(([, file]) => path === file);
      const from = runner === undefined ? join(dir, path) : join(root, "node_modules", path);
      const next: string[] = [];
      const text = (await readFile(from, "utf8")).replaceAll(
        SPECIFIER,
        (whole, before: string, name: string) => {
          const to = targetOf(path, name);
          if (to === null) return whole;
          next.push(to);
          const relative = posix.relative(posix.dirname(path), to).replace(/\.d\.ts$/, ".js");
          return `${before}"${relative.startsWith(".") ? relative : `./${relative}`}"`;
        },
      );
      done.set(path, text);
      for (const one of next) await follow(one);
    };
    await follow(ENTRY.replace(/\.ts$/, ".d.ts"));
    const out = join(root, "dist", "types");
    await rm(out, { recursive: true, force: true });
    for (const [path, text] of done) {
      await mkdir(dirname(join(out, path)), { recursive: true });
      await writeFile(join(out, path), text);
    }
    return [...done.keys()];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The declaration that a specifier in `path` means; null: none of ours. */
function targetOf(path: string, name: string): string | null {
  const runner = RUNNER[name];
  if (runner !== undefined) return runner;
  if (name === "uvu/index") return RUNNER["uvu"] ?? null;
  if (!name.startsWith(".")) return null;
  const to = posix.join(posix.dirname(path), name);
  return to.endsWith(".ts") ? to.replace(/\.ts$/, ".d.ts") : `${to}.d.ts`;
}

/** Has tsc declare the harness. Types are checked elsewhere: here they are only written down. */
async function emit(root: string, outDir: string): Promise<void> {
  const config = join(outDir, "tsconfig.json");
  const compilerOptions = {
    noEmit: false,
    noCheck: true,
    declaration: true,
    emitDeclarationOnly: true,
    outDir,
    rootDir: root,
    typeRoots: [join(root, "node_modules/@types")],
  };
  const of = { extends: join(root, "tsconfig.json"), compilerOptions, files: [join(root, ENTRY)] };
  await writeFile(config, JSON.stringify({ ...of, include: [] }));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const child = spawn(process.execPath, [tsc, "-p", config], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => said += text);
  }
  const code = await new Promise((done) => child.once("close", done));
  if (code !== 0) throw new Error(`tsc did not declare ${ENTRY}: ${said}`);
}
