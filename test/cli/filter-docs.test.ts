// docs/FILTERS.md: every filter that it shows compiles and would be loaded by a proxy, and its
// first one is what `tulle filter new` makes.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { filterCommands } from "../../src/cli/filter.ts";
import { createCompiler } from "../../src/cli/filter-compiler.ts";
import { runTulle } from "../../src/cli/main.ts";
import { createInspector } from "../../wasm/host/inspect.ts";
import { tempDir } from "../support/temp-dir.ts";
import { fakeTerminal } from "./fake-terminal.ts";

const page = await readFile(
  fileURLToPath(new URL("../../docs/FILTERS.md", import.meta.url)),
  "utf8",
);
const blocks = [...page.matchAll(/^```ts\n([^]*?)^```$/gm)].map((m) => m[1] ?? "");
const filters = blocks.filter((code) => code.includes('from "@tulle/filter"'));

test("each filter of the page compiles and would be loaded", async () => {
  assert.ok(filters.length >= 10, `${filters.length} filters`);
  await using dir = await tempDir("filter-docs");
  const compiler = createCompiler();
  for (const [i, code] of filters.entries()) {
    const path = dir.join(`example-${i}.ts`);
    await writeFile(path, code);
    const built = await compiler.compile(path);
    if ("errors" in built) throw new Error(`${built.errors.join("\n")}\n${code}`);
    const { hooks } = await createInspector().inspect(built.wasm);
    assert.ok(hooks.length > 0, code);
  }
});

test("each hook that a filter may export is shown", () => {
  const shown = filters.join("\n");
  for (const [, hook = ""] of page.matchAll(/^\| `(on[A-Za-z]+)\(/gm)) {
    assert.match(shown, `export function ${hook}(`);
  }
});

test("the first filter of the page is the one that tulle filter new makes", async () => {
  await using dir = await tempDir("filter-docs-new");
  const argv = ["filter", "new", "gate", "--filters", dir.path];
  assert.is(await runTulle(argv, [filterCommands], fakeTerminal()), 0);
  const made = await readFile(join(dir.path, "gate/assembly/index.ts"), "utf8");
  assert.is(filters[0], made);
});

test.run();
