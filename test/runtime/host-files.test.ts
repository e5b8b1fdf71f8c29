import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { hostFiles } from "../../src/runtime/host-files.ts";
import { tempDir } from "../support/temp-dir.ts";

const mode = async (path: string) => (await stat(path)).mode & 0o777;

test("a file keeps its mode, a new one gets one, and nothing is left beside it", async () => {
  await using dir = await tempDir("host");
  const files = hostFiles();
  const list = dir.join("10-pods.conflist");
  await writeFile(list, "old");
  await chmod(list, 0o640);
  await files.write(list, "new", 0o644, false);
  assert.is(await readFile(list, "utf8"), "new");
  assert.is(await mode(list), 0o640);
  await files.write(list, "secret", 0o600, true);
  assert.is(await mode(list), 0o600);
  await files.write(dir.join("fresh"), "x", 0o600, true);
  assert.is(await mode(dir.join("fresh")), 0o600);
  assert.equal((await readdir(dir.path)).sort(), ["10-pods.conflist", "fresh"]);
});

test("an executable is copied once, and again when it is changed or gone", async () => {
  await using dir = await tempDir("host");
  const files = hostFiles();
  const [from, to] = [dir.join("source"), dir.join("target")] as const;
  await writeFile(from, "ELF one");
  assert.ok(await files.install(from, to));
  assert.is(await mode(to), 0o755);
  assert.not(await files.install(from, to));
  assert.not(await hostFiles().install(from, to), "one that was there already is compared");
  await writeFile(to, "ELF two");
  assert.ok(await files.install(from, to));
  assert.is(await readFile(to, "utf8"), "ELF one");
  await files.remove(to);
  assert.ok(await files.install(from, to));
  await files.remove(to);
  await files.remove(to);
});

test("what cannot be done is said with its path", async () => {
  await using dir = await tempDir("host");
  const files = hostFiles();
  const rejected = async (run: Promise<unknown>) => {
    try {
      await run;
    } catch (e) {
      return (e as Error).message;
    }
    return "it was done";
  };
  const none = dir.join("none", "x");
  assert.match(await rejected(files.write(none, "x", 0o600, true)), `Cannot write ${none}`);
  assert.match(await rejected(files.list(none)), `Cannot list ${none}`);
  assert.match(await rejected(files.install(none, dir.join("x"))), "Cannot install");
  assert.is(await files.read(none), null);
  assert.is(await files.read(dir.path), null, "a folder is no file");
  await writeFile(dir.join("large"), "x".repeat(1024 * 1024 + 1));
  assert.match(await rejected(files.read(dir.join("large"))), "over 1048576");
});

test.run();
