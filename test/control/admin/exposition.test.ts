import { test } from "uvu";
import * as assert from "uvu/assert";
import { readExposition, readSeries } from "../../../src/control/admin/exposition.ts";

const WANTED = new Set(["a_total", "b"]);

function read(text: string, limits?: { maxSeries: number; maxLineChars: number }) {
  const samples: [string, number][] = [];
  readExposition(text, WANTED, (series, value) => void samples.push([series, value]), limits);
  return samples;
}

test("readExposition() hands over samples of wanted families only", () => {
  const text = "# HELP a_total x\n# TYPE a_total counter\n" +
    'a_total{x="1"} 3\na_total_more 9\nother{x="1"} 2\n\nb 1.5e3 1700000000\n# EOF\n';
  assert.equal(read(text), [['a_total{x="1"}', 3], ["b", 1500]]);
});

test("readExposition() reads a last line without its end, and lines that end in CR LF", () => {
  assert.equal(read("b 1\r\nb 2"), [["b", 1], ["b", 2]]);
});

test("readExposition() is not confused by braces, spaces and quotes inside of values", () => {
  const series = String.raw`b{x="} 7",y="a\"b\\c\nd {"}`;
  assert.equal(read(`${series} 4`), [[series, 4]]);
  assert.equal([...readSeries(series)?.labels ?? []], [["x", "} 7"], ["y", 'a"b\\c\nd {']]);
});

test("readExposition() reads every number that the format has", () => {
  const numbers = { "+Inf": Infinity, "-Inf": -Infinity, ".5": 0.5, "-2": -2, "1e-3": 0.001 };
  for (const [text, value] of Object.entries(numbers)) {
    assert.equal(read(`b ${text}`), [["b", value]]);
  }
  assert.ok(Number.isNaN(read("b NaN")[0]?.[1]));
});

test("readExposition() names the line of a sample without a number", () => {
  for (const bad of ["b", "b ", "b x", "b{} 0x10", "b 1_0", "b --1"]) {
    assert.throws(() => read(`# c\nb 1\n${bad}\n`), /line 3 has no value that is a number/, bad);
  }
});

test("readExposition() refuses more series and longer lines than its bounds", () => {
  const limits = { maxSeries: 2, maxLineChars: 20 };
  assert.is(read("b 1\nb 2\n", limits).length, 2);
  assert.throws(() => read("b 1\nb 2\nb 3\n", limits), /more than 2 series/);
  assert.throws(() => read(`c 1\nb{x="${"y".repeat(20)}"} 1`, limits), /line 2 is longer than 20/);
});

test("readSeries() reads names and labels", () => {
  assert.equal([...readSeries('b{x="1",y="2"}')?.labels ?? []], [["x", "1"], ["y", "2"]]);
  assert.is(readSeries("b")?.family, "b");
  assert.is(readSeries("b{}")?.labels.size, 0);
  assert.is(readSeries('b{x="1",}')?.labels.size, 1);
});

test("readSeries() is null for what is malformed", () => {
  const bad = [
    "",
    "{}",
    "1b{}",
    "b{",
    'b{x="1"',
    'b{x="1"}}',
    'b{x="1"} ',
    'b{x="1"y="2"}',
    "b{x=1}",
    'b{x="\\q"}',
    'b{x="1",x="2"}',
    'b{="1"}',
    'b{x="a"b"}',
    "b{,}",
  ];
  for (const series of bad) assert.is(readSeries(series), null, series);
});

test.run();
