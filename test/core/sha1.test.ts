import { createHash } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { sha1 } from "../../src/core/sha1.ts";

const hex = (bytes: Uint8Array) => [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");

test("sha1() is that of the runtime, around every block's end", () => {
  for (let length = 0; length < 200; length++) {
    const text = Array.from({ length }, (_, i) => String.fromCharCode((i * 7) & 255)).join("");
    assert.is(
      hex(sha1(text)),
      createHash("sha1").update(text, "latin1").digest("hex"),
      `${length}`,
    );
  }
});

test.run();
