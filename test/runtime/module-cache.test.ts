// The folder of filter modules.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { readdir, utimes, writeFile } from "node:fs/promises";
import { moduleDir } from "../../src/runtime/module-cache.ts";
import { tempDir } from "../support/temp-dir.ts";

const digest = (n: number) => n.toString(16).padStart(64, "0");

test("moduleDir() gives back what was put, and null for what was not", async () => {
  await using box = await tempDir("modules");
  const cache = moduleDir(box.join("new", "folder"));
  assert.is(await cache.get(digest(1)), null);
  await cache.put(digest(1), new Uint8Array([1, 2, 3]));
  assert.equal(await cache.get(digest(1)), new Uint8Array([1, 2, 3]));
  assert.is(await cache.get(digest(2)), null);
});

test("moduleDir() leaves no temporary file behind, also when two put the same at once", async () => {
  await using box = await tempDir("modules");
  const cache = moduleDir(box.path);
  await Promise.all([1, 2, 3].map((n) => cache.put(digest(9), new Uint8Array([n]))));
  assert.equal(await readdir(box.path), [`${digest(9)}.wasm`]);
});

test("moduleDir() keeps the 64 files that were used last and touches nothing else", async () => {
  await using box = await tempDir("modules");
  const cache = moduleDir(box.path);
  await writeFile(box.join("notes.txt"), "mine");
  for (let n = 0; n < 64; n++) {
    await cache.put(digest(n), new Uint8Array([n]));
    await utimes(box.join(`${digest(n)}.wasm`), 1000 + n, 1000 + n);
  }
  await cache.get(digest(0)); // used again
  await cache.put(digest(100), new Uint8Array([1]));
  assert.ok(await cache.get(digest(0)));
  assert.is(await cache.get(digest(1)), null, "the one that was not used for the longest");
  const files = await readdir(box.path);
  assert.is(files.length, 65);
  assert.ok(files.includes("notes.txt"));
});

test("moduleDir() refuses what is not a digest: a name must not leave the folder", async () => {
  await using box = await tempDir("modules");
  for (const name of ["../../etc/passwd", "", "A".repeat(64), digest(1) + "0"]) {
    try {
      await moduleDir(box.path).get(name);
      assert.unreachable();
    } catch (e) {
      assert.match((e as Error).message, /64 lower-case hex/);
    }
  }
});

test.run();
