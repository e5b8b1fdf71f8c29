import process from "node:process";
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { pinnedNode } from "../../tools/build-cni.ts";
import { needsLibatomic, withoutLibatomic, withoutSections } from "../../tools/cni/slim-elf.ts";
import { testUnless } from "../support/skip.ts";

const node = await pinnedNode();
const missing = node === null
  ? "there is no pinned Node for this platform"
  : process.arch === "x64"
  ? null
  : "libatomic is replaced on x64 only";

testUnless(
  missing,
  test,
  "Node's executable loses its sections and its need of libatomic",
  async () => {
    const whole = new Uint8Array(await readFile(node!));
    const before = whole.slice(0, 4096);
    assert.ok(needsLibatomic(whole));
    const without = withoutLibatomic(whole)!;
    assert.not(needsLibatomic(without));
    assert.is(withoutLibatomic(without), null, "there is nothing more to take out");
    const slim = withoutSections(without);
    assert.ok(slim.length < whole.length);
    assert.not(needsLibatomic(slim));
    assert.equal(whole.slice(0, 4096), before, "what was given is as it was");
  },
);

test("what is no such executable is refused", () => {
  for (const bytes of [new Uint8Array(128), new TextEncoder().encode("#!/bin/sh\n".repeat(20))]) {
    assert.throws(() => withoutSections(bytes), /not a 64-bit little-endian ELF file/);
  }
});

test.run();
