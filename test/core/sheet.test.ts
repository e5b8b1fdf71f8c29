// Sheets of counters: one thread's, shared ones as another thread sees them, and their sum.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Family, type Series, Sheet } from "../../src/core/sheet.ts";
import { addSheet, RemoteSheet } from "../../src/core/sheet-sum.ts";

/** A shared sheet with the view that another thread has of it. */
function shared(cells = 4): { sheet: Sheet; seen: RemoteSheet } {
  const seen = new RemoteSheet();
  const sheet = new Sheet(cells, {
    memory: (memory) => seen.memory(memory),
    series: (family: Family, series: Series) => seen.series(family, series),
  });
  return { sheet, seen };
}

function valueOf(sheet: Sheet, name: string, labels: string): number[] {
  const family = sheet.families.get(name) as Family;
  const { cell } = family.series.get(labels) as Series;
  const width = family.type === "histogram" ? family.bounds.length + 2 : 1;
  return [...sheet.cells.subarray(cell, cell + width)];
}

test("counters, gauges and histograms of several threads are summed series by series", () => {
  const threads = [shared(), shared(), shared()];
  threads.forEach(({ sheet }, i) => {
    const requests = sheet.family("requests", "counter", "r");
    const latency = sheet.family("latency", "histogram", "l", [1, 10]);
    const open = sheet.family("open", "gauge", "o");
    sheet.add(sheet.cell(requests, { code: "200" }), i + 1);
    if (i === 1) sheet.add(sheet.cell(requests, { code: "500" }), 7);
    const cell = sheet.cell(latency, {});
    for (const ms of [0, 5, 50]) sheet.observe(latency, cell, ms + i);
    sheet.set(sheet.cell(open, {}), 10);
  });
  const sum = new Sheet();
  for (const { seen } of threads) seen.addTo(sum, true);
  assert.equal(valueOf(sum, "requests", 'code="200"'), [6]);
  assert.equal(valueOf(sum, "requests", 'code="500"'), [7]);
  assert.equal(valueOf(sum, "latency", ""), [2, 4, 3, 0 + 5 + 50 + 1 + 6 + 51 + 2 + 7 + 52]);
  assert.equal(valueOf(sum, "open", ""), [30]);
});

test("a shared sheet that grows is seen with what was in it", () => {
  const { sheet, seen } = shared(1);
  const family = sheet.family("requests", "counter", "r");
  const first = sheet.cell(family, { n: "0" });
  sheet.add(first, 3);
  for (let n = 1; n < 100; n++) sheet.add(sheet.cell(family, { n: String(n) }), n);
  sheet.add(first, 1);
  const sum = new Sheet();
  seen.addTo(sum, true);
  assert.equal(valueOf(sum, "requests", 'n="0"'), [4]);
  assert.equal(valueOf(sum, "requests", 'n="99"'), [99]);
});

test("of a thread that is gone the counters stay and the gauges go", () => {
  const { sheet, seen } = shared();
  sheet.add(sheet.cell(sheet.family("requests", "counter", "r"), {}), 5);
  sheet.set(sheet.cell(sheet.family("open", "gauge", "o"), {}), 5);
  const gone = new Sheet();
  seen.addTo(gone, false);
  const sum = new Sheet();
  addSheet(sum, gone);
  assert.equal(valueOf(sum, "requests", ""), [5]);
  assert.is(sum.families.has("open"), false);
});

test.run();
