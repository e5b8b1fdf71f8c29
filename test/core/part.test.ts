import { test } from "uvu";
import * as assert from "uvu/assert";
import { part } from "../../src/core/part.ts";
import { seeded } from "../support/random.ts";

test("part() is the bytes that are there now, whichever part was asked for before", () => {
  const random = seeded(7);
  const large = [new Uint8Array(64 * 1024), new Uint8Array(128 * 1024)];
  const buffers = [...large, new Uint8Array(1024)];
  for (let i = 0; i < 20_000; i++) {
    const buf = buffers[Math.floor(random() * buffers.length)] as Uint8Array;
    const from = Math.floor(random() * 3);
    const to = from + Math.floor(random() * 200);
    buf[from] = i;
    const got = part(buf, from, to);
    assert.is(got.buffer, buf.buffer);
    assert.is(got.byteOffset, from);
    assert.is(got.length, to - from);
    if (to > from) assert.is(got[0], i & 255);
  }
});

test("part() makes no second view of a large buffer, and keeps no small one", () => {
  const large = new Uint8Array(64 * 1024);
  assert.is(part(large, 0, 300), part(large, 0, 300));
  assert.is.not(part(large, 0, 300), part(large, 1, 301));
  const small = new Uint8Array(1024);
  assert.is.not(part(small, 0, 300), part(small, 0, 300));
});

test.run();
