// The lint plugin as `deno lint` and editors run it: in a small project of its own, with our
// configuration and rules. Shows that the rules are wired, and the one that needs a syntax tree.

import { spawnSync } from "node:child_process";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FILE_RULES } from "../../tools/check/file-rules.ts";
import plugin from "../../tools/check/lint-plugin.ts";
import { denoPath } from "../../tools/runner/runtimes.ts";
import { tempDir } from "../support/temp-dir.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const HEAD = "// What this file holds, for a test.\n";

/** `path rule` of everything that the linter finds in these files. */
async function lint(files: Record<string, string>): Promise<string[]> {
  await using dir = await tempDir("lint");
  for (const path of ["deno.json", "tools/check", "tools/import-table.ts"]) {
    await cp(join(root, path), dir.join(path), { recursive: true });
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(dir.join(path)), { recursive: true });
    await writeFile(dir.join(path), text);
  }
  const { stdout, stderr } = spawnSync(denoPath(root), ["lint", "--json", ...Object.keys(files)], {
    cwd: dir.path,
    encoding: "utf8",
  });
  assert.ok(stdout.startsWith("{"), stderr);
  const { diagnostics, errors } = JSON.parse(stdout);
  assert.equal(errors, []);
  return diagnostics.map((d: { filename: string; code: string }) =>
    `${d.filename.slice(d.filename.lastIndexOf(dir.path) + dir.path.length + 1)} ${d.code}`
  ).sort();
}

test("every file rule is in the plugin, by its name", () => {
  for (const name of Object.keys(FILE_RULES)) assert.ok(name in plugin.rules, name);
});

test("the linter reports what the file rules find", async () => {
  const found = await lint({
    "src/core/outwards.ts": `${HEAD}import { x } from "../proxy/x.ts";\nx();\n`,
    "src/core/bare.ts": "export default 1;\n",
    "src/core/good.ts": `${HEAD}export const x = 1;\n`,
  });
  assert.equal(found, [
    "src/core/bare.ts tulle/head-comment",
    "src/core/bare.ts tulle/no-default-export",
    "src/core/outwards.ts tulle/import-table",
  ]);
});

test("no-non-null refuses an assumption in code and allows it in tests", async () => {
  const code = `${HEAD}export const x = (y: string | null) => y!.length;\n`;
  const found = await lint({
    "src/core/x.ts": code,
    "wasm/host/x.ts": code,
    "test/core/x.test.ts": code,
    "src/core/y.ts": `${HEAD}export const x = (y: boolean) => !y;\n`,
  });
  assert.equal(found, ["src/core/x.ts tulle/no-non-null", "wasm/host/x.ts tulle/no-non-null"]);
});

test.run();
