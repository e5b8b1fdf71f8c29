import { test } from "uvu";
import * as assert from "uvu/assert";
import { deepEqual } from "../../src/control/equal.ts";
import { Table } from "../../src/control/table.ts";

interface Thing {
  namespace: string;
  name: string;
  value: number;
  tags?: string[];
}

function table() {
  const told: string[][] = [];
  const t = new Table<Thing, { value: number; tags: readonly string[] }>(
    ({ value, tags = [] }) => {
      if (value > 99) throw new Error("too large");
      return value < 0 ? null : { value, tags };
    },
    (keys) => told.push([...keys].sort()),
    (row) => row.tags,
  );
  return { t, told };
}
const thing = (name: string, value: number, ...tags: string[]): Thing => ({
  namespace: "a",
  name,
  value,
  tags,
});

test("Table keeps a row for each resource and tells which key changed", () => {
  const { t, told } = table();
  t.apply(thing("x", 1));
  t.apply(thing("y", 2));
  t.apply(thing("x", 3));
  assert.equal(told, [["a/x"], ["a/y"], ["a/x"]]);
  assert.is(t.get("a/x")?.value, 3);
  assert.is(t.rows.size, 2);
  t.remove(thing("x", 0));
  assert.equal(told.pop(), ["a/x"]);
  assert.is(t.get("a/x"), null);
});

test("Table tells nobody when a row did not change", () => {
  const { t, told } = table();
  t.apply(thing("x", 1, "one"));
  t.apply(thing("x", 1, "one"));
  t.remove(thing("y", 1));
  assert.is(told.length, 1);
});

test("Table removes a row when the resource has none any more", () => {
  const { t, told } = table();
  t.apply(thing("x", 1));
  t.apply(thing("x", -1));
  assert.is(t.get("a/x"), null);
  assert.is(told.length, 2);
});

test("Table keeps the last good row when the new resource cannot be read", () => {
  const { t, told } = table();
  t.apply(thing("x", 1));
  assert.throws(() => t.apply(thing("x", 100)), /too large/);
  assert.is(t.get("a/x")?.value, 1);
  assert.is(told.length, 1);
});

test("Table finds rows by the groups that they are in now", () => {
  const { t } = table();
  t.apply(thing("x", 1, "red", "big"));
  t.apply(thing("y", 2, "red"));
  const values = (group: string) => [...t.group(group)].map((r) => r.value).sort();
  assert.equal(values("red"), [1, 2]);
  t.apply(thing("x", 1, "blue"));
  assert.equal(values("red"), [2]);
  assert.equal(values("big"), []);
  assert.equal(values("blue"), [1]);
  t.remove(thing("y", 0));
  assert.equal(values("red"), []);
});

test("deepEqual() compares all through", () => {
  assert.ok(deepEqual({ a: [1, { b: "x" }], c: null }, { c: null, a: [1, { b: "x" }] }));
  assert.ok(deepEqual(new Uint8Array([1, 2]), new Uint8Array([1, 2])));
  assert.ok(deepEqual(/a/i, /a/i));
  assert.ok(deepEqual(NaN, NaN));
  for (
    const [a, b] of [
      [{ a: 1 }, { a: 2 }],
      [{ a: undefined }, {}],
      [[1], [1, 2]],
      [[1], { 0: 1 }],
      [/a/, /a/i],
      [/a/, {}],
      [new Uint8Array([1]), new Uint8Array([2])],
      [null, {}],
      ["1", 1],
    ]
  ) assert.not(deepEqual(a, b), JSON.stringify([a, b]));
});

test.run();
