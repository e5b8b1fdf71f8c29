import { test } from "uvu";
import * as assert from "uvu/assert";
import { imports, lineOf, mask } from "../../tools/check/source.ts";

test("mask() keeps every position and line", () => {
  const text = 'const a = "x\\"y"; // note\n/* two\nlines */ const b = `t${a + "q"}u`;\n';
  const masked = mask(text);
  assert.is(masked.length, text.length);
  assert.is(masked.split("\n").length, text.split("\n").length);
  assert.is(masked.indexOf("const b"), text.indexOf("const b"));
  assert.not.match(masked, /note|two|lines|[xyqu]/);
  assert.ok(masked.includes("${a + "), "code inside a template is code");
});

test("mask() tells a regular expression from a division", () => {
  assert.is(mask("const r = /[/'\"]x/g; b"), "const r = /      /g; b");
  assert.is(mask("const r = a / b; c / d"), "const r = a / b; c / d");
  assert.is(mask("return /x'/.test(y)"), "return /  /.test(y)");
  assert.is(mask("const r = f(a) / 2 / 'x'"), "const r = f(a) / 2 / ' '");
});

test("imports() finds every form and says which are erased", () => {
  const text = [
    'import { a, type B } from "./a.ts";',
    'import type { C } from "./c.ts";',
    "import * as d from 'd';",
    'import "./side.ts";',
    'export { e } from "./e.ts";',
    'export type { F } from "./f.ts";',
    'const g = await import("./g.ts");',
    "import {\n  h,\n  i,\n} from './h.ts';",
  ].join("\n");
  const found = imports(text);
  assert.equal(found.map((i) => i.specifier), [
    "./a.ts",
    "./c.ts",
    "d",
    "./side.ts",
    "./e.ts",
    "./f.ts",
    "./g.ts",
    "./h.ts",
  ]);
  assert.equal(found.filter((i) => i.typeOnly).map((i) => i.specifier), ["./c.ts", "./f.ts"]);
  assert.equal(found.map((i) => i.line), [1, 2, 3, 4, 5, 6, 7, 8]);
});

test("imports() does not read comments, strings and templates", () => {
  const text =
    '// import x from "./a.ts"\nconst s = \'import y from "./b.ts"\';\nconst t = `import "c"`;\n';
  assert.equal(imports(text), []);
});

test("imports() takes a default import named type for what it is", () => {
  assert.is(imports('import type from "./a.ts";')[0]?.typeOnly, false);
});

test("lineOf() counts from 1", () => {
  assert.is(lineOf("a\nb\nc", 0), 1);
  assert.is(lineOf("a\nb\nc", 2), 2);
  assert.is(lineOf("a\nb\nc", 4), 3);
});

test.run();
