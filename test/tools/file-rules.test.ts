import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  FILE_RULES,
  headComment,
  importExtension,
  importTable,
  noBarrel,
  noDefaultExport,
  resolve,
  source,
} from "../../tools/check/file-rules.ts";

/** What the import table says of one import in one file. */
function refused(path: string, code: string): string[] {
  return importTable(source(path, code)).map((f) => f.message);
}

test("the import table lets a ring use the rings inside it", () => {
  assert.equal(refused("src/model/a.ts", 'import { x } from "../core/x.ts";'), []);
  assert.equal(refused("src/proxy/http1/a.ts", 'import { x } from "../../api/x.ts";'), []);
  assert.equal(refused("src/runtime/a.ts", 'import { x } from "node:net";'), []);
});

test("the import table refuses what points outwards, also as a type", () => {
  const outwards: [string, string][] = [
    ["src/core/a.ts", "../model/x.ts"],
    ["src/model/a.ts", "../api/x.ts"],
    ["src/api/a.ts", "../proxy/x.ts"],
    ["src/proxy/a.ts", "../control/x.ts"],
    ["src/control/a.ts", "../proxy/x.ts"],
    ["src/proxy/a.ts", "../runtime/x.ts"],
    ["src/proxy/a.ts", "../../wasm/host/x.ts"],
    ["src/runtime/a.ts", "../proxy/x.ts"],
    ["wasm/host/a.ts", "../../src/model/x.ts"],
    ["src/cli/a.ts", "../proxy/outbound/stack.ts"],
  ];
  for (const [path, specifier] of outwards) {
    assert.is(refused(path, `import { x } from "${specifier}";`).length, 1, `${path} ${specifier}`);
    assert.is(refused(path, `import type { X } from "${specifier}";`).length, 1, `type in ${path}`);
    assert.is(refused(path, `await import("${specifier}");`).length, 1, `import() in ${path}`);
  }
});

test("the import table lets only a main.ts join the runtime and the filter engine", () => {
  const code = 'import { x } from "../runtime/x.ts";\nimport { y } from "../../wasm/host/y.ts";';
  assert.equal(refused("src/proxy/main.ts", code), []);
  assert.equal(refused("src/control/main.ts", code), []);
  assert.is(refused("src/proxy/outbound.ts", code).length, 2);
});

test("the import table keeps each package where its row says", () => {
  const use = (name: string) => `import { x } from "${name}";`;
  assert.equal(refused("src/proxy/admin.ts", use("hono")), []);
  assert.is(refused("src/proxy/balance.ts", use("hono/cors")).length, 1);
  assert.equal(refused("src/control/identity/issuer.ts", use("@peculiar/x509")), []);
  assert.is(refused("src/control/destination/x.ts", use("@peculiar/x509")).length, 1);
  assert.is(refused("src/proxy/credentials.ts", use("@peculiar/x509")).length, 1);
  assert.equal(refused("src/control/files/parse.ts", use("yaml")), []);
  assert.is(refused("src/core/a.ts", use("uvu")).length, 1);
  assert.is(refused("test/a.test.ts", use("left-pad")).length, 1, "an unlisted package in a test");
  assert.is(
    refused("test/a.test.ts", use("npm:uvu")).length,
    1,
    "a package by another registry name",
  );
});

test("the import table keeps node: and the runtimes' globals in their places", () => {
  assert.is(refused("src/core/a.ts", 'import { readFile } from "node:fs/promises";').length, 1);
  assert.is(refused("src/proxy/a.ts", "const x = process.env.HOME;").length, 1);
  assert.is(refused("src/control/a.ts", 'Deno.readTextFile("x");').length, 1);
  assert.is(refused("src/api/a.ts", 'const b = Buffer.from("x");').length, 1);
  assert.equal(refused("src/runtime/a.ts", "Deno.env; process.pid;"), []);
  assert.equal(refused("src/core/a.ts", "x.process.run(); process(); // Deno.env"), []);
});

test("the import table refuses a file that it does not know, and a path out of the project", () => {
  assert.is(refused("elsewhere/a.ts", "").length, 1);
  assert.is(refused("test/a.ts", 'import { x } from "../../x.ts";').length, 1);
});

test("resolve() follows a relative specifier", () => {
  assert.is(resolve("a/b/c.ts", "../d.ts"), "a/d.ts");
  assert.is(resolve("a/b/c.ts", "./d/e.ts"), "a/b/d/e.ts");
  assert.is(resolve("a.ts", "../b.ts"), null);
});

test("no-default-export finds both forms and nothing in text", () => {
  const found = (code: string) => noDefaultExport(source("src/core/a.ts", code)).map((f) => f.line);
  assert.equal(found("// x\nexport default class A {}"), [2]);
  assert.equal(found("const a = 1;\nexport { a as default };"), [2]);
  assert.equal(found('const s = "export default";\nexport const b = 1;'), []);
  assert.equal(found('import { default as a } from "./a.ts";'), []);
});

test("no-barrel finds export *", () => {
  assert.is(noBarrel(source("src/core/a.ts", 'export * from "./b.ts";')).length, 1);
  assert.is(noBarrel(source("src/core/a.ts", 'export { b } from "./b.ts";')).length, 0);
});

test("import-extension wants the file's name", () => {
  const count = (specifier: string) =>
    importExtension(source("src/core/a.ts", `import { b } from "${specifier}";`)).length;
  assert.is(count("./b"), 1);
  assert.is(count("./b.ts"), 0);
  assert.is(count("../package.json"), 0);
});

test("head-comment wants a sentence at the top, after #! and before code", () => {
  const count = (text: string) => headComment(source("src/core/a.ts", text)).length;
  assert.is(count("// What this file holds and why.\nimport 1"), 0);
  assert.is(count("#!/usr/bin/env node\n// What this file holds and why.\n"), 0);
  assert.is(count("import 1\n// What this file holds and why.\n"), 1);
  assert.is(count("//\n//\n"), 1);
  assert.is(count(""), 1);
});

test("each rule says what to do", () => {
  const bad = source(
    "src/core/a.ts",
    'import x from "../api/b";\nexport * from "./c";\nexport default 1;',
  );
  const names = Object.values(FILE_RULES).flatMap((rule) => rule(bad));
  for (const f of names) assert.ok(f.hint.length > 10, f.rule);
  assert.equal(new Set(names.map((f) => f.rule)), new Set(Object.keys(FILE_RULES)));
});

test.run();
