// `tulle filter new`, `build` and `test`: what is made, what is told of what does not compile, and what
// of a test that fails.

import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { tempDir } from "../support/temp-dir.ts";
import { tulleFilter as tulle } from "./support/tulle-filter.ts";

const at = (path: string) => fileURLToPath(new URL("../../" + path, import.meta.url));

test("a new filter builds and passes its test at once", async () => {
  await using dir = await tempDir("filter-new");
  await writeFile(dir.join("package.json"), '{ "type": "commonjs" }'); // as npm init makes it
  const filters = dir.join("filters");
  const made = await tulle("new", "gate", "--filters", filters);
  assert.is(made.status, 0, made.err);
  for (const file of ["assembly/index.ts", "gate.test.ts", "README.md"]) {
    assert.ok(existsSync(join(filters, "gate", file)), file);
    assert.match(made.out, file);
  }
  const built = await tulle("build", "--filters", filters);
  assert.is(built.status, 0, built.err);
  assert.match(built.out, /build\/gate\.wasm {2}\d{3,4} bytes in \d+ ms/);
  assert.match(built.out, /cost {4}onRequest \d{2,3} instructions$/m);
  const digests = JSON.parse(await readFile(join(filters, "build/digests.json"), "utf8"));
  assert.match(built.out, digests.gate);
  const tested = await tulle("test", "gate", "--filters", filters);
  assert.is(tested.status, 0, tested.out + tested.err);
  assert.match(tested.out, /Passed: +2/);
  assert.match(tested.out, /fuel: \S*gate onRequest \d+ of 1000000 at most, 3 calls/);
  assert.match(tested.out, /1 passed, 0 failed/);
  const again = await tulle("new", "gate", "--filters", filters);
  assert.is(again.status, 1);
  assert.match(again.err, /gate exists already/);
});

test("a name that no object may have is a usage error", async () => {
  for (const name of ["Gate", "a/b", "..", "-x", "build", "x".repeat(64)]) {
    const { status, err } = await tulle("new", name);
    assert.is(status, 2, name);
    assert.match(err, /is no name for a filter|Unknown flag/);
  }
});

test("what does not compile is told with file, line and column, and the others are built", async () => {
  await using dir = await tempDir("filter-build");
  const filters = dir.join("filters");
  await tulle("new", "good", "--filters", filters);
  await mkdir(join(filters, "bad/assembly"), { recursive: true });
  await writeFile(
    join(filters, "bad/assembly/index.ts"),
    'import { Action } from "@tulle/filter";\nexport function onRequest(): Action {\n  return x;\n}\n',
  );
  const { status, out, err } = await tulle("build", "--filters", filters);
  assert.is(status, 1);
  assert.match(err, /bad\/assembly\/index\.ts:3:10: Cannot find name 'x'/);
  assert.match(err, /1 filter not built/);
  assert.match(out, /good\.wasm/);
  const unknown = await tulle("build", "goood", "--filters", filters);
  assert.match(unknown.err, /goood\/assembly\/index\.ts does not exist\n {2}Did you mean good\?/);
  assert.match((await tulle("build", "--filters", dir.join("no"))).err, /There is no folder/);
});

test("a test that fails, runs nothing, or traps is a failure", async () => {
  await using dir = await tempDir("filter-test");
  const filters = dir.join("filters");
  await tulle("new", "gate", "--filters", filters);
  const write = (text: string) => writeFile(join(filters, "gate/gate.test.ts"), text);
  await write('import { test } from "tulle/testing";\ntest("nothing", () => {});\n');
  const empty = await tulle("test", "--filters", filters);
  assert.is(empty.status, 1);
  assert.match(empty.err, /ran no test: does it end with test\.run\(\)\?/);
  await write(`import { loadFilter, test } from "tulle/testing";
test("it traps", async () => {
  const filter = await loadFilter(import.meta.dirname ?? ".");
  filter.request();
});
test.run();
`);
  await writeFile(
    join(filters, "gate/assembly/index.ts"),
    `import { Action, request } from "@tulle/filter";
export function onRequest(): Action {
  return 10 / request.attempt();
}
`,
  );
  const failing = await tulle("test", "--filters", filters);
  assert.is(failing.status, 1);
  assert.match(
    failing.out + failing.err,
    /onRequest trapped: divide by zero, in \S+ at \S*gate\/assembly\/index\.ts:3:\d+/,
  );
  assert.match(failing.out, /0 passed, 1 failed/);
});

// each filter's own test is run by name elsewhere: two show that named ones run, and no others
test("the filters of the project pass their own tests", async () => {
  const names = ["retry", "redirect"];
  const { status, out, err } = await tulle("test", ...names, "--filters", at("filters"));
  assert.is(status, 0, out + err);
  assert.match(out, /^2 passed, 0 failed$/m);
  assert.match(out, /fuel: \S*retry onOutcome \d+ of 1000000 at most/);
  assert.not.match(out, "header-modifier");
});

test.run();
