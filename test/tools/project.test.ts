// The files around the code agree with each other: tasks, versions, lock file, tables.

import { readdir, readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { IMPORT_TABLE } from "../../tools/import-table.ts";
import { NODE_PACKAGES } from "../../tools/runner/runtimes.ts";

const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), "utf8");
const json = async (path: string) => JSON.parse(await read(path));

test("package.json and deno.json have the same tasks", async () => {
  const { prepack, ...scripts } = (await json("package.json")).scripts;
  assert.ok(prepack, "prepack is npm's alone");
  assert.equal((await json("deno.json")).tasks, scripts);
});

test("every version is exact", async () => {
  for (const path of ["package.json", "tools/deno/package.json"]) {
    const manifest = await json(path);
    for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
        assert.match(String(version), /^\d+\.\d+\.\d+$/, `${name} in ${path}`);
      }
    }
  }
});

test("Node is the same version on every platform, and so is Deno", async () => {
  const one = (versions: object) => new Set(Object.values(versions)).size;
  assert.is(one((await json("package.json")).optionalDependencies), 1);
  assert.is(one((await json("tools/deno/package.json")).optionalDependencies), 1);
});

test("the executable, the runner and the manifest name the same Node packages", async () => {
  const executable = await read("bin/tulle.js");
  const declared = Object.keys((await json("package.json")).optionalDependencies).sort();
  assert.equal(Object.values(NODE_PACKAGES).sort(), declared);
  for (const [platform, name] of Object.entries(NODE_PACKAGES)) {
    assert.ok(executable.includes(`"${platform}": "${name}"`), platform);
  }
});

test("the lock file names no registry and has no install script", async () => {
  const { packages } = await json("package-lock.json");
  for (const [path, entry] of Object.entries<Record<string, unknown>>(packages)) {
    if (entry.link === true) continue;
    assert.is(entry.resolved, undefined, path);
    if (entry.hasInstallScript === true) {
      assert.ok(INSTALL_SCRIPTS_NOT_NEEDED.includes(path), `${path} runs a script at install`);
    }
  }
});

/** esbuild's only checks and replaces its launcher; `npm ci --ignore-scripts` serves as well. */
const INSTALL_SCRIPTS_NOT_NEEDED = ["node_modules/esbuild", "node_modules/@bufbuild/buf"];

test("each package that code may import is declared, and each declared one has its reason", async () => {
  const manifest = await json("package.json");
  const deno = await json("tools/deno/package.json");
  const declared = new Set(
    [manifest, deno].flatMap((m) => [
      ...Object.keys(m.dependencies ?? {}),
      ...Object.keys(m.devDependencies ?? {}),
      ...Object.keys(m.optionalDependencies ?? {}),
    ]),
  );
  for (const row of IMPORT_TABLE) {
    for (const { name } of row.packages) assert.ok(declared.has(name), `${name} of ${row.files}`);
  }
  const reasons = await read("docs/adr/0003-dependencies.md");
  for (const name of declared) {
    assert.ok(
      reasons.includes(`\`${name}\``),
      `${name} has no line in docs/adr/0003-dependencies.md`,
    );
  }
});

test("each record of a decision has its number, status, reasons and what would change our mind", async () => {
  const folder = new URL("../../docs/adr/", import.meta.url);
  const names = (await readdir(folder)).filter((n) => n.endsWith(".md")).sort();
  assert.ok(names.length > 0);
  names.forEach((name, i) => assert.match(name, new RegExp(`^${String(i + 1).padStart(4, "0")}-`)));
  for (const name of names) {
    const text = await read(`docs/adr/${name}`);
    for (const part of ["Context", "Decision", "Consequences", "What would change our mind"]) {
      assert.match(text, `## ${part}`, name);
    }
  }
});

test.run();
