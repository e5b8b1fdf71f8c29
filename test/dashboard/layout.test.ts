import { test } from "uvu";
import * as assert from "uvu/assert";

// Plain JavaScript for the browser: read by address, so that its types stay those of the page.
const folder = new URL("../../src/dashboard/", import.meta.url);
const { layersOf, layout } = await import(new URL("layout.js", folder).href);
const { linePath } = await import(new URL("sparkline.js", folder).href);

type Edge = { from: string; to: string };
const edges = (text: string): Edge[] =>
  text.split(" ").filter((e) => e !== "").map((e) => ({
    from: e[0] as string,
    to: e[1] as string,
  }));
const SIZES = { vertical: false, nodeWidth: 100, nodeHeight: 50, gapAlong: 60, gapAcross: 20 };
const ROWS = { ...SIZES, vertical: true };

test("layersOf() puts a node after everyone who calls it", () => {
  assert.equal(layersOf([..."abcd"], edges("ab bc ac cd")), [["a"], ["b"], ["c"], ["d"]]);
  assert.equal(layersOf([..."abcd"], edges("ab ac bd cd")), [["a"], ["b", "c"], ["d"]]);
});

test("layersOf() places every node of a cycle once", () => {
  for (const text of ["ab ba", "ab bc ca", "ab bc cb cd da", "aa ab"]) {
    const nodes = [...new Set(text.replaceAll(" ", ""))].sort();
    assert.equal(layersOf(nodes, edges(text)).flat().sort(), nodes, text);
  }
});

test("layersOf() begins a cycle at the one who is called from outside", () => {
  assert.equal(layersOf([..."bcz"], edges("zb bc cb")), [["z"], ["b"], ["c"]]);
});

test("layout() is the same whatever the order of its input", () => {
  const list = edges("lw wc wv vs ws");
  const one = layout([..."lwcvs"], list, 800, SIZES);
  const two = layout([..."svcwl"], list.toReversed(), 800, SIZES);
  for (const node of "lwcvs") assert.equal(one.places.get(node), two.places.get(node), node);
});

test("nodes never overlap, whatever the graph, and rows never leave the width", () => {
  let seed = 3;
  const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 100; round++) {
    const nodes = [..."abcdefghijklmn"].slice(0, 2 + random(12));
    const pick = () => nodes[random(nodes.length)] as string;
    const list = Array.from({ length: random(20) }, () => ({ from: pick(), to: pick() }));
    for (const sizes of [SIZES, ROWS]) {
      const { places, width, height } = layout(nodes, list, 360, sizes);
      assert.is(places.size, nodes.length);
      const boxes = nodes.map((n) => places.get(n));
      for (const [i, a] of boxes.entries()) {
        assert.ok(a.x >= 0 && a.x + 100 <= width + 1e-6, `round ${round}: x ${a.x} of ${width}`);
        assert.ok(a.y >= 0 && a.y + 50 <= height + 1e-6, `round ${round}: y ${a.y} of ${height}`);
        for (const b of boxes.slice(i + 1)) {
          const apart = Math.abs(a.x - b.x) >= 100 || Math.abs(a.y - b.y) >= 50;
          assert.ok(apart, `round ${round}: ${JSON.stringify([a, b])}`);
        }
      }
      if (sizes.vertical) assert.is(width, 360);
    }
  }
});

test("an edge that skips a layer gets a way that no node stands in", () => {
  const { places, ways } = layout([..."abc"], edges("ab bc ac"), 800, SIZES);
  const [way] = ways.get("a c");
  assert.is(way.x, places.get("b").x);
  assert.ok(way.y < places.get("b").y || way.y > places.get("b").y + 50);
});

test("a node without edges stands below the others", () => {
  const { places, height } = layout([..."abz"], edges("ab"), 800, SIZES);
  assert.ok(places.get("z").y >= 50 + 20);
  assert.is(height, places.get("z").y + 50);
  assert.equal(layout(["z"], [], 800, SIZES).places.get("z"), { x: 0, y: 0, layer: -1 });
  assert.is(layout([], [], 800, SIZES).height, 0);
});

test("linePath() begins a new stroke after a gap and ends at the right", () => {
  assert.is(linePath([], 0, 1), "");
  assert.is(linePath([null], 0, 1), "");
  const path = linePath([0, 1, null, 0.5], 0, 1, 100, 20);
  assert.equal(path.match(/[ML]/g)?.join(""), "MLM");
  assert.match(path, /98\.0 10\.0$/);
});

test("linePath() stays inside of its box for values beyond its bounds", () => {
  const ys = [...linePath([-5, 5, 0, 0], 0, 0, 100, 20).matchAll(/ ([\d.-]+)/g)].map((m) =>
    Number(m[1])
  );
  for (const y of ys) assert.ok(y >= 2 && y <= 18, String(y));
});

test.run();
