// Compiles the filters to filters/build/<name>.wasm with their digests, and the modules of tests and
// conformance suite.
// With names, only those filters. `--check` compiles and compares with what is committed, byte by
// byte, and changes nothing.

import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createCompiler } from "../src/cli/filter-compiler.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const builds = join(root, "filters/build");
/** Single sources, and where their modules go. */
const MODULES: readonly (readonly [sources: string, modules: string])[] = [
  ["wasm/fixtures/assembly", "test/wasm/fixtures"],
  ["wasm/conformance/assembly", "wasm/conformance/modules"],
];
/** Filters that also get a second build, which replaces the first while requests run. */
const SECOND_BUILDS: Readonly<Record<string, string>> = {
  "header-modifier": "v2",
  "route-metrics": "v2",
  "retry": "v2",
};

const { values: { check: isCheck }, positionals: names } = parseArgs({
  options: { check: { type: "boolean", default: false } },
  allowPositionals: true,
});
let wrong = 0;

/** Writes a file, or compares it with `bytes`. */
async function put(path: string, bytes: Uint8Array): Promise<void> {
  const before = await readFile(path).catch(() => null);
  const isSame = before !== null && Buffer.compare(before, bytes) === 0;
  const shown = path.slice(root.length);
  if (isCheck) {
    if (isSame) return;
    wrong++;
    console.error(`${shown} is not what its source compiles to; run npm run build:filters`);
    return;
  }
  if (!isSame) await writeFile(path, bytes);
  console.log(`${shown} ${bytes.length} bytes${isSame ? ", unchanged" : ""}`);
}

/** The digest, or null after the errors were printed. */
async function build(entry: string, to: string, tag: string): Promise<string | null> {
  const compiler = createCompiler(tag === "" ? {} : { build: tag });
  const result = await compiler.compile(relative(process.cwd(), entry));
  if ("errors" in result) {
    wrong++;
    for (const line of result.errors) console.error(line);
    return null;
  }
  await put(to, result.wasm);
  return result.sha256;
}

const digestFile = join(builds, "digests.json");
const known: Record<string, string> = JSON.parse(await readFile(digestFile, "utf8"));
const digests: Record<string, string> = {};
const folders = (await readdir(join(root, "filters"), { withFileTypes: true })).map((d) => d.name)
  .filter((name) => existsSync(join(root, "filters", name, "assembly/index.ts"))).sort();
for (const name of names.filter((name) => !folders.includes(name))) {
  wrong++;
  console.error(
    `filters/${name}/assembly/index.ts does not exist; there are: ${folders.join(", ")}`,
  );
}
for (const name of folders) {
  for (const tag of ["", SECOND_BUILDS[name] ?? ""].slice(0, name in SECOND_BUILDS ? 2 : 1)) {
    const full = tag === "" ? name : `${name}.${tag}`;
    const isWanted = names.length === 0 || names.includes(name);
    const entry = join(root, "filters", name, "assembly/index.ts");
    const sha256 = isWanted ? await build(entry, join(builds, `${full}.wasm`), tag) : null;
    const kept = sha256 ?? known[full];
    if (kept !== undefined) digests[full] = kept;
  }
}
await put(digestFile, new TextEncoder().encode(JSON.stringify(digests, null, 2) + "\n"));
if (names.length === 0) {
  for (const [sources, modules] of MODULES) {
    for (const file of (await readdir(join(root, sources))).sort()) {
      const to = join(root, modules, file.replace(/\.ts$/, ".wasm"));
      await build(join(root, sources, file), to, "");
    }
  }
}
if (wrong > 0) process.exitCode = 1;
else if (isCheck) console.log("filters are what their sources compile to");
