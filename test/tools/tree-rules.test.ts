import { test } from "uvu";
import * as assert from "uvu/assert";
import { fileLength, noCycles } from "../../tools/check/tree-rules.ts";

const tree = (files: Record<string, string>) => new Map(Object.entries(files));

test("noCycles() names the way round", () => {
  const found = noCycles(tree({
    "src/core/a.ts": 'import { b } from "./b.ts";',
    "src/core/b.ts": 'import { c } from "./deep/c.ts";',
    "src/core/deep/c.ts": 'import { a } from "../a.ts";',
  }));
  assert.is(found.length, 1);
  const way = "src/core/a.ts → src/core/b.ts → src/core/deep/c.ts → src/core/a.ts";
  assert.match(found[0]?.message ?? "", way);
});

test("noCycles() finds a file that imports itself, and one behind an import()", () => {
  assert.is(noCycles(tree({ "a.ts": 'import { x } from "./a.ts";' })).length, 1);
  assert.is(
    noCycles(tree({ "a.ts": 'await import("./b.ts")', "b.ts": 'import "./a.ts";' })).length,
    1,
  );
});

test("noCycles() lets interfaces name each other, and a diamond be", () => {
  assert.equal(
    noCycles(tree({
      "a.ts": 'import type { B } from "./b.ts";',
      "b.ts": 'import { a } from "./a.ts";',
    })),
    [],
  );
  assert.equal(
    noCycles(tree({
      "a.ts": 'import { b } from "./b.ts"; import { c } from "./c.ts";',
      "b.ts": 'import { d } from "./d.ts";',
      "c.ts": 'import { d } from "./d.ts";',
      "d.ts": "",
    })),
    [],
  );
});

test("fileLength() refuses line 401 unless a reason is listed", () => {
  const lines = (n: number) => tree({ "src/a.ts": "x\n".repeat(n) });
  assert.equal(fileLength(lines(400), {}), []);
  assert.is(fileLength(lines(401), {})[0]?.line, 401);
  assert.equal(fileLength(lines(401), { "src/a.ts": "one state machine" }), []);
});

test("fileLength() refuses a reason that is no longer needed", () => {
  const found = fileLength(tree({ "src/a.ts": "x\n" }), {
    "src/a.ts": "was long",
    "src/gone.ts": "x",
  });
  assert.equal(found.map((f) => f.path), ["src/a.ts", "src/gone.ts"]);
});

test.run();
