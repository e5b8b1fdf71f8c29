// Sheets of counters: one thread's, shared ones as another thread sees them, and their sum.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Family, OVERFLOW, type Series, Sheet } from "../../src/core/sheet.ts";
import { addExemplars, addSheet, exemplarsOf, RemoteSheet } from "../../src/core/sheet-sum.ts";

/** A shared sheet with the view that another thread has of it. */
function shared(
  cells = 4,
  past: Sheet = new Sheet(),
  all: RemoteSheet[] = [],
): { sheet: Sheet; seen: RemoteSheet } {
  const seen = new RemoteSheet();
  all.push(seen);
  const sheet = new Sheet({
    cells,
    watcher: {
      memory: (memory) => seen.memory(memory),
      series: (family: Family, series: Series) => seen.series(family, series),
      dropped: (family: Family, series: Series) =>
        seen.dropped(family.name, series.labels, past, all),
    },
  });
  return { sheet, seen };
}

/** What is printed of a counter; null: there is no such series. */
function seriesOf(sheet: Sheet, name: string, labels: string): number | null {
  const series = sheet.families.get(name)?.series.get(labels);
  return series === undefined ? null : sheet.cells[series.cell] as number;
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

test("series that nobody counted in for long go, and begin at nothing when they come again", () => {
  const sheet = new Sheet();
  const family = sheet.family("requests", "counter", "r");
  const latency = sheet.family("latency", "histogram", "l", [1]);
  const group = sheet.group("a");
  const cell = group.cell(family, { name: "a" });
  sheet.add(cell, 7);
  sheet.observe(latency, group.cell(latency, { name: "a" }), 0.5);
  sheet.add(sheet.cell(family, { name: "stays" }), 1);
  sheet.sweep(0, 1000);
  sheet.add(cell, 1);
  sheet.sweep(900, 1000);
  sheet.sweep(1800, 1000);
  assert.is(seriesOf(sheet, "requests", 'name="a"'), 8);
  sheet.sweep(1900, 1000);
  assert.is(group.live, false);
  assert.is(seriesOf(sheet, "requests", 'name="a"'), null);
  assert.is(seriesOf(sheet, "latency", 'name="a"'), null);
  assert.is(seriesOf(sheet, "requests", 'name="stays"'), 1);
  const again = sheet.group("a");
  const reborn = again.cell(family, { name: "a" });
  assert.is(again.live, true);
  sheet.add(reborn, 1);
  assert.is(seriesOf(sheet, "requests", 'name="a"'), 1);
});

test("cells of what was dropped are used again, after the next sweep and from nothing", () => {
  const sheet = new Sheet({ cells: 1 });
  const family = sheet.family("requests", "counter", "r");
  const used = () => sheet.cells.length;
  for (let round = 0; round < 50; round++) {
    const group = sheet.group(String(round));
    for (let n = 0; n < 10; n++) {
      const cell = group.cell(family, { name: `${round}-${n}` });
      assert.is(sheet.cells[cell], 0);
      sheet.add(cell, 5);
    }
    sheet.sweep(round * 10, 10);
  }
  assert.ok(used() < 100, `${used()} cells`);
  assert.ok(sheet.size <= 30, `${sheet.size} series`);
});

test("a series of what is open stays, however long nothing happens", () => {
  const sheet = new Sheet();
  const open = sheet.family("open", "gauge", "o");
  const total = sheet.family("open_total", "counter", "o");
  const group = sheet.group("a");
  const now = group.cell(open, {});
  sheet.add(group.cell(total, {}), 1);
  sheet.add(now, 1);
  for (let ms = 0; ms <= 10_000; ms += 100) sheet.sweep(ms, 1000);
  assert.is(seriesOf(sheet, "open_total", ""), 1);
  sheet.add(now, -1);
  sheet.sweep(10_100, 1000);
  sheet.sweep(11_000, 1000);
  assert.is(seriesOf(sheet, "open_total", ""), 1);
  sheet.sweep(11_100, 1000);
  assert.is(seriesOf(sheet, "open_total", ""), null);
});

test("over the bound there is one more series a family, until there is room again", () => {
  const told: string[] = [];
  const sheet = new Sheet({ maxSeries: 10 });
  sheet.onOverflow = ({ name }) => told.push(name);
  const family = sheet.family("requests", "counter", "r");
  const groups = Array.from({ length: 15 }, (_, n) => sheet.group(String(n)));
  groups.forEach((group, n) => sheet.add(group.cell(family, { n: String(n) }), 1));
  assert.is(seriesOf(sheet, "requests", 'n="9"'), 1);
  assert.is(seriesOf(sheet, "requests", 'n="10"'), null);
  assert.is(seriesOf(sheet, "requests", OVERFLOW), 5);
  assert.is(sheet.overflows, 5);
  assert.equal(told, ["requests"]);
  assert.is(family.series.size, 11);
  sheet.sweep(0, 10);
  sheet.sweep(10, 10);
  const late = sheet.group("12");
  sheet.add(late.cell(family, { n: "12" }), 1);
  assert.is(seriesOf(sheet, "requests", 'n="12"'), 1);
  assert.is(seriesOf(sheet, "requests", OVERFLOW), 5);
});

test("the sum of threads does not shrink while one of them counts on", () => {
  const past = new Sheet();
  const all: RemoteSheet[] = [];
  const threads = [shared(4, past, all), shared(4, past, all)];
  const sum = () => {
    const whole = new Sheet();
    addSheet(whole, past);
    for (const { seen } of threads) seen.addTo(whole, true);
    return seriesOf(whole, "requests", 'n="1"');
  };
  const cells = threads.map(({ sheet }) => {
    const family = sheet.family("requests", "counter", "r");
    return sheet.group("1").cell(family, { n: "1" });
  });
  threads.forEach(({ sheet }, i) => sheet.add(cells[i]!, 10 + i));
  const [one, two] = threads as [typeof threads[0], typeof threads[0]];
  one.sheet.sweep(0, 1000);
  two.sheet.sweep(0, 1000);
  two.sheet.add(cells[1]!, 1);
  one.sheet.sweep(1000, 1000);
  two.sheet.sweep(1000, 1000);
  assert.is(sum(), 22);
  two.sheet.sweep(2000, 1000);
  assert.is(sum(), null);
});

test("exemplars stand at their buckets, go with their series and to other threads", () => {
  const sheet = new Sheet();
  const family = sheet.family("latency", "histogram", "l", [1, 10]);
  const group = sheet.group("a");
  const cell = group.cell(family, { n: "1" });
  const bucket = sheet.observe(family, cell, 5);
  sheet.exemplify(cell, bucket, { traceId: "aa", value: 5, wallMs: 100 });
  sheet.exemplify(cell, bucket, { traceId: "bb", value: 6, wallMs: 200 });
  const sent = exemplarsOf(sheet);
  const labels = 'n="1"';
  assert.equal(sent, [
    { family: "latency", labels, bucket: 1, traceId: "bb", value: 6, wallMs: 200 },
  ]);
  const sum = new Sheet();
  addSheet(sum, sheet);
  addExemplars(sum, [{ ...sent[0]!, traceId: "old", wallMs: 150 }]);
  assert.equal(exemplarsOf(sum).map((e) => e.traceId), ["bb"]);
  addExemplars(sum, [{ ...sent[0]!, traceId: "new", wallMs: 250 }]);
  assert.equal(exemplarsOf(sum).map((e) => e.traceId), ["new"]);
  sheet.sweep(0, 10);
  sheet.sweep(10, 10);
  assert.equal(exemplarsOf(sheet), []);
});

test.run();
