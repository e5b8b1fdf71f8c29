// Compiles the filters to filters/build/<name>.wasm with their digests, and the hostile modules of the
// tests. `--check` compiles and compares with what is committed, byte by byte, and changes nothing.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createCompiler } from "../src/cli/filter-compiler.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const builds = join(root, "filters/build");
const sources = join(root, "wasm/fixtures/assembly");
const fixtures = join(root, "test/wasm/fixtures");
/** Filters that also get a second build, which replaces the first while requests run. */
const SECOND_BUILDS: Readonly<Record<string, string>> = {
  "header-modifier": "v2",
  "route-metrics": "v2",
  "retry": "v2",
};

const isCheck = process.argv.includes("--check");
let wrong = 0;

/** Writes a file, or compares it with `bytes`. */
async function put(path: string, bytes: Uint8Array): Promise<void> {
  const before = await readFile(path).catch(() => null);
  const isSame = before !== null && Buffer.compare(before, bytes) === 0;
  const shown = path.slice(root.length);
  if (isCheck) {
    if (isSame) return;
    wrong++;
    console.error(`${shown} is not what its source compiles to; run tools/build-filters.ts`);
    return;
  }
  if (!isSame) await writeFile(path, bytes);
  console.log(`${shown} ${bytes.length} bytes${isSame ? ", unchanged" : ""}`);
}

async function build(entry: string, to: string, tag: string): Promise<string> {
  const compiler = createCompiler(tag === "" ? {} : { build: tag });
  const result = await compiler.compile(entry);
  if ("errors" in result) {
    wrong++;
    for (const line of result.errors) console.error(line);
    return "";
  }
  await put(to, result.wasm);
  return result.sha256;
}

const digests: Record<string, string> = {};
const folders = await readdir(join(root, "filters"), { withFileTypes: true });
for (const { name } of folders.sort((a, b) => a.name < b.name ? -1 : 1)) {
  const entry = join(root, "filters", name, "assembly/index.ts");
  if (await readFile(entry).catch(() => null) === null) continue;
  digests[name] = await build(entry, join(builds, `${name}.wasm`), "");
  const second = SECOND_BUILDS[name];
  if (second !== undefined) {
    digests[`${name}.${second}`] = await build(
      entry,
      join(builds, `${name}.${second}.wasm`),
      second,
    );
  }
}
await put(
  join(builds, "digests.json"),
  new TextEncoder().encode(JSON.stringify(digests, null, 2) + "\n"),
);
for (const file of (await readdir(sources)).sort()) {
  const name = file.replace(/\.ts$/, "");
  await build(join(sources, file), join(fixtures, `${name}.wasm`), "");
}
if (wrong > 0) process.exitCode = 1;
else if (isCheck) console.log("filters are what their sources compile to");
