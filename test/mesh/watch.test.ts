// `tulle demo --watch`: a filter is edited while requests run. What is good is swapped in without a
// failed request; what does not compile or traps leaves the build before it serving and says why. So does
// a mistake in a file of the mesh.

import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { tempDir } from "../support/temp-dir.ts";
import { startDemo, through } from "./support/demo.ts";

const FILTERS = fileURLToPath(new URL("../../filters", import.meta.url));
const NET = process.versions.deno === undefined ? "127.83" : "127.84";
const CATALOGUE = "http://catalogue.shop.svc.cluster.local:8080/items";

test("editing a filter swaps it with no failed request, and a bad edit changes nothing", async () => {
  await using dir = await tempDir("filters");
  for (const name of ["header-modifier", "retry", "route-metrics"]) {
    await cp(join(FILTERS, name, "assembly"), dir.join(name, "assembly"), { recursive: true });
  }
  const path = dir.join("header-modifier", "assembly", "index.ts");
  const source = await readFile(path, "utf8");
  const edit = async (...changes: readonly (readonly [from: string, to: string])[]) => {
    let text = source;
    for (const [from, to] of changes) {
      assert.ok(text.includes(from), `the source has no ${from}`);
      text = text.replace(from, to);
    }
    await writeFile(path, text);
  };
  const headers = () => through(NET, 2, CATALOGUE).then((answer) => answer.headers);
  const demo = startDemo({ net: NET }, "--watch", "--filters", dir.path, "--rate", "60");
  await demo.until(/watching .*header-modifier/);
  assert.is((await headers())["x-edited"], undefined);

  await edit(
    ["config, CONTINUE", "config, CONTINUE, response"],
    [
      "  responseRemove.remove();",
      '  responseRemove.remove();\n  response.set("x-edited", "yes");',
    ],
  );
  await demo.until(
    /header-modifier: swapped to [0-9a-f]{8} in \d+ ms, [1-9]\d* requests crossed, 0 failed/,
  );
  assert.is((await headers())["x-edited"], "yes");

  await edit(["requestSet.set();", "requestSet.nonsense();"]);
  await demo.untilErr(/header-modifier: the build before goes on serving: .*index\.ts:\d+:\d+: /);
  assert.is((await headers())["x-edited"], "yes");

  await edit(["requestSet.set();", "unreachable();"]);
  await demo.untilErr(/header-modifier: the build before [0-9a-f]{8} goes on serving: .*trap/i);
  assert.is((await headers())["x-edited"], "yes");

  // The files of the mesh are there to be edited, too.
  const mesh = /edit +(\S+)\/\*\.yaml/.exec(demo.out())?.[1] ?? "";
  const wrong = (await readFile(join(mesh, "vote.yaml"), "utf8")).replace(
    "port: 8080",
    "port: some",
  );
  await writeFile(join(mesh, "vote.yaml"), wrong);
  await demo.until(
    /control plane: .*vote\.yaml:\d+: Service shop\/vote: .*"some", not a whole number/,
  );
  assert.is((await headers())["x-edited"], "yes");

  process.kill(demo.child.pid!, "SIGINT");
  await demo.ended;
  assert.match(demo.out(), /\d+ requests, 0 failed; /);
});

test.run();
