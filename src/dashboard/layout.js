// Where the nodes of the service graph stand: layers from callers to called, few crossings, nothing
// random, so that the picture stays still while figures change. Pure; knows no DOM.

/**
 * @typedef {{ from: string, to: string }} Edge
 * @typedef {{ x: number, y: number, layer: number }} Place
 * @typedef {{ vertical: boolean, nodeWidth: number, nodeHeight: number, gapAlong: number, gapAcross: number }} Sizes
 * @typedef {{
 *   width: number,
 *   height: number,
 *   sizes: Sizes,
 *   places: Map<string, Place>,
 *   ways: Map<string, readonly { x: number, y: number }[]>,
 * }} Layout places by their top left corner, and by `from to` where an edge enters the layers that it
 *   passes through
 */

/** Room for an edge that passes through a layer. */
const WAY_BREADTH = 14;

/**
 * Places nodes. Horizontal: layers are columns, and wider than `width` when there are many; vertical:
 * layers are rows, wrapped to it. Nodes without an edge stand in rows below.
 * @param {readonly string[]} nodes
 * @param {readonly Edge[]} edges
 * @param {number} width
 * @param {Sizes} sizes
 * @returns {Layout}
 */
export function layout(nodes, edges, width, sizes) {
  const real = edges.filter(({ from, to }) => from !== to);
  const linked = new Set(real.flatMap(({ from, to }) => [from, to]));
  const layers = layersOf(nodes.filter((n) => linked.has(n)).sort(), real);
  const layerOf = new Map(layers.flatMap((names, i) => names.map((n) => [n, i])));
  const passing = waysThrough(layers, layerOf, real);
  const ordered = orderLayers(passing.layers, passing.links);
  const placed = sizes.vertical ? rows(ordered, width, sizes) : columns(ordered, width, sizes);
  /** @type {Layout} */
  const result = {
    width: Math.max(width, placed.width),
    height: placed.height,
    sizes,
    places: new Map(),
    ways: new Map(),
  };
  for (const [name, layer] of layerOf) {
    const { x, y } = placed.at.get(name) ?? { x: 0, y: 0 };
    result.places.set(name, { x, y, layer });
  }
  for (const [edge, names] of passing.ways) {
    result.ways.set(edge, names.map((name) => placed.at.get(name) ?? { x: 0, y: 0 }));
  }
  placeAlone(nodes.filter((n) => !linked.has(n)).sort(), result);
  return result;
}

/**
 * Gives an edge that skips layers a place in each of them, so that it goes between nodes and not
 * behind them.
 * @param {readonly string[][]} layers
 * @param {ReadonlyMap<string, number>} layerOf
 * @param {readonly Edge[]} edges
 */
function waysThrough(layers, layerOf, edges) {
  const filled = layers.map((names) => [...names]);
  /** @type {Map<string, string[]>} */
  const ways = new Map();
  /** @type {Edge[]} */
  const links = [];
  for (const { from, to } of edges) {
    const names = [];
    const [first, last] = [layerOf.get(from) ?? 0, layerOf.get(to) ?? 0];
    for (let i = first + 1; i < last; i++) {
      const name = `${from} ${to} ${i}`;
      names.push(name);
      filled[i]?.push(name);
    }
    if (names.length > 0) ways.set(`${from} ${to}`, names);
    const chain = [from, ...names, to];
    for (let i = 1; i < chain.length; i++) {
      links.push({ from: chain[i - 1] ?? from, to: chain[i] ?? to });
    }
  }
  return { layers: filled, ways, links };
}

/**
 * Layers by the longest way from a caller, cycles cut where a walk in name order meets itself.
 * @param {readonly string[]} nodes
 * @param {readonly Edge[]} edges
 * @returns {string[][]}
 */
export function layersOf(nodes, edges) {
  const targets = new Map(nodes.map((n) => [n, /** @type {string[]} */ ([])]));
  for (const { from, to } of edges) if (from !== to) targets.get(from)?.push(to);
  const called = new Set(edges.filter((e) => e.from !== e.to).map((e) => e.to));
  /** @type {Map<string, number>} */
  const layer = new Map();
  /** @type {Map<string, string[]>} */
  const forward = new Map();
  /** @type {Set<string>} */
  const open = new Set();
  /** @type {string[]} */
  const finished = [];
  /** @param {string} node */
  const walk = (node) => {
    if (open.has(node) || forward.has(node)) return;
    open.add(node);
    const kept = (targets.get(node) ?? []).filter((to) => targets.has(to) && !open.has(to)).sort();
    for (const to of kept) walk(to);
    forward.set(node, kept);
    open.delete(node);
    finished.push(node);
  };
  for (const node of nodes.filter((n) => !called.has(n))) walk(node);
  for (const node of nodes) walk(node);
  for (const node of finished.reverse()) {
    const own = layer.get(node) ?? 0;
    layer.set(node, own);
    for (const to of forward.get(node) ?? []) {
      layer.set(to, Math.max(layer.get(to) ?? 0, own + 1));
    }
  }
  /** @type {string[][]} */
  const layers = [];
  for (const node of nodes) (layers[layer.get(node) ?? 0] ??= []).push(node);
  return layers.filter((l) => l !== undefined);
}

/**
 * Puts nodes near those that they talk to: the mean place of their neighbours, back and forth.
 * @param {string[][]} layers
 * @param {readonly Edge[]} edges between neighbouring layers
 * @returns {string[][]}
 */
function orderLayers(layers, edges) {
  /** @type {Map<string, string[]>} */
  const callers = new Map();
  /** @type {Map<string, string[]>} */
  const called = new Map();
  for (const { from, to } of edges) {
    callers.set(to, [...callers.get(to) ?? [], from]);
    called.set(from, [...called.get(from) ?? [], to]);
  }
  let ordered = layers;
  for (let sweep = 0; sweep < 4; sweep++) {
    const near = sweep % 2 === 0 ? callers : called;
    const place = new Map(
      ordered.flatMap((nodes) =>
        nodes.map((n, i) => /** @type {const} */ ([n, (i + 0.5) / nodes.length]))
      ),
    );
    ordered = ordered.map((nodes) => {
      const weight = new Map(nodes.map((n) => {
        const places = (near.get(n) ?? []).map((m) => place.get(m) ?? 0.5);
        const mean = places.reduce((sum, p) => sum + p, 0) / places.length;
        return [n, places.length === 0 ? place.get(n) ?? 0 : mean];
      }));
      return nodes.toSorted((a, b) =>
        (weight.get(a) ?? 0) - (weight.get(b) ?? 0) || (a < b ? -1 : 1)
      );
    });
  }
  return ordered;
}

/** Names of nodes hold no space, those of ways do. @param {string} name */
const isWay = (name) => name.includes(" ");

/**
 * Breadths of names side by side, and where each begins.
 * @param {readonly string[]} names
 * @param {number} nodeBreadth
 * @param {number} gap
 */
function line(names, nodeBreadth, gap) {
  let end = 0;
  const starts = names.map((name, i) => {
    const start = i === 0 ? 0 : end + gap;
    end = start + (isWay(name) ? WAY_BREADTH : nodeBreadth);
    // A way is entered in its middle.
    return isWay(name) ? start + WAY_BREADTH / 2 : start;
  });
  return { starts, breadth: end };
}

/**
 * @param {readonly string[][]} layers
 * @param {number} width
 * @param {Sizes} sizes
 */
function columns(layers, width, { nodeWidth, nodeHeight, gapAlong, gapAcross }) {
  /** @type {Map<string, { x: number, y: number }>} */
  const at = new Map();
  const lines = layers.map((names) => line(names, nodeHeight, gapAcross));
  const height = Math.max(0, ...lines.map((l) => l.breadth));
  const least = Math.max(0, layers.length * (nodeWidth + gapAlong) - gapAlong);
  // Room is shared by the gaps, up to where a line would be too long to follow.
  const spare = Math.max(0, width - least) / Math.max(1, layers.length - 1);
  const gap = Math.min(gapAlong * 3, gapAlong + spare);
  const used = Math.max(0, layers.length * (nodeWidth + gap) - gap);
  const left = Math.max(0, (width - used) / 2);
  for (const [layer, names] of layers.entries()) {
    const { starts = [], breadth = 0 } = lines[layer] ?? {};
    for (const [i, name] of names.entries()) {
      const y = (height - breadth) / 2 + (starts[i] ?? 0);
      at.set(name, { x: left + layer * (nodeWidth + gap), y });
    }
  }
  return { at, width: used, height };
}

/**
 * @param {readonly string[][]} layers
 * @param {number} width
 * @param {Sizes} sizes
 */
function rows(layers, width, { nodeWidth, nodeHeight, gapAlong, gapAcross }) {
  /** @type {Map<string, { x: number, y: number }>} */
  const at = new Map();
  let y = 0;
  for (const names of layers) {
    for (const [i, row] of wrapped(names, width, nodeWidth, gapAcross).entries()) {
      if (i > 0) y += nodeHeight + gapAcross;
      const { starts, breadth } = line(row, nodeWidth, gapAcross);
      const left = Math.max(0, (width - breadth) / 2);
      for (const [j, name] of row.entries()) at.set(name, { x: left + (starts[j] ?? 0), y });
    }
    y += nodeHeight + gapAlong;
  }
  return { at, width: Math.min(width, nodeWidth), height: Math.max(0, y - gapAlong) };
}

/**
 * Cuts a layer into rows that fit.
 * @param {readonly string[]} names
 * @param {number} width
 * @param {number} nodeWidth
 * @param {number} gap
 */
function wrapped(names, width, nodeWidth, gap) {
  /** @type {string[][]} */
  const result = [];
  let row = /** @type {string[]} */ ([]);
  for (const name of names) {
    if (row.length > 0 && line([...row, name], nodeWidth, gap).breadth > width) {
      result.push(row);
      row = [];
    }
    row.push(name);
  }
  return row.length > 0 ? [...result, row] : result;
}

/**
 * Places nodes without an edge: under the first column, or in the middle like the other rows.
 * @param {readonly string[]} alone
 * @param {Layout} result
 */
function placeAlone(alone, result) {
  if (alone.length === 0) return;
  const { vertical, nodeWidth, nodeHeight, gapAcross } = result.sizes;
  const xs = [...result.places.values()].map(({ x }) => x);
  const left = vertical || xs.length === 0 ? 0 : Math.min(...xs);
  let y = result.height === 0 ? 0 : result.height + gapAcross;
  for (const row of wrapped(alone, result.width - left, nodeWidth, gapAcross)) {
    const { starts, breadth } = line(row, nodeWidth, gapAcross);
    const start = vertical ? Math.max(0, (result.width - breadth) / 2) : left;
    for (const [i, name] of row.entries()) {
      result.places.set(name, { x: start + (starts[i] ?? 0), y, layer: -1 });
    }
    result.height = y + nodeHeight;
    y += nodeHeight + gapAcross;
  }
}
