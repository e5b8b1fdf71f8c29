// The lines of the service graph: where an edge leaves and arrives, the curve between, the arrow at its
// end, and where its label stands. Pure; knows no DOM.

/**
 * @import { Edge, Layout, Place } from "./layout.js"
 */

/** How far the arrow reaches back from its tip. */
const ARROW = 5;

/** @param {Edge} edge */
export const edgeKey = (edge) => `${edge.from} ${edge.to}`;

/**
 * The way of an edge. Several edges of one node leave and arrive side by side, in the order of where
 * they go, so that they do not cross at once.
 * @param {Edge} edge
 * @param {readonly Edge[]} edges
 * @param {Layout} layout
 */
export function pathOf(edge, edges, layout) {
  const { vertical, nodeWidth, nodeHeight } = layout.sizes;
  const source = placeOf(layout, edge.from);
  const target = placeOf(layout, edge.to);
  const across = vertical ? "x" : "y";
  const side = vertical ? nodeWidth : nodeHeight;
  const leaving = edges.filter((e) => e.from === edge.from);
  const arriving = edges.filter((e) => e.to === edge.to);
  const out = spread(leaving, edge, (e) => placeOf(layout, e.to)[across], side);
  const into = spread(arriving, edge, (e) => placeOf(layout, e.from)[across], side);
  const back = target.layer <= source.layer;
  const start = vertical
    ? { x: source.x + nodeWidth / 2 + out, y: source.y + (back ? 0 : nodeHeight) }
    : { x: source.x + (back ? 0 : nodeWidth), y: source.y + nodeHeight / 2 + out };
  const tip = vertical
    ? { x: target.x + nodeWidth / 2 + into, y: target.y + (back ? nodeHeight : 0) }
    : { x: target.x + (back ? nodeWidth : 0), y: target.y + nodeHeight / 2 + into };
  const turn = back ? -1 : 1;
  // The line ends in the arrow, not under its tip.
  const end = vertical
    ? { x: tip.x, y: tip.y - turn * ARROW }
    : { x: tip.x - turn * ARROW, y: tip.y };
  let path = `M${point(start)}`;
  let at = start;
  let mid = null;
  for (const way of layout.ways.get(edgeKey(edge)) ?? []) {
    const part = curve(at, way, vertical, false);
    at = vertical ? { x: way.x, y: way.y + nodeHeight } : { x: way.x + nodeWidth, y: way.y };
    path += `${part.path}L${point(at)}`;
    mid ??= part.mid;
  }
  const last = curve(at, end, vertical, back);
  return { path: path + last.path, mid: mid ?? last.mid, arrow: arrow(tip, vertical, turn) };
}

/**
 * A curve that leaves and arrives along the layers.
 * @param {{ x: number, y: number }} start
 * @param {{ x: number, y: number }} end
 * @param {boolean} vertical
 * @param {boolean} back
 */
function curve(start, end, vertical, back) {
  const length = Math.abs(vertical ? end.y - start.y : end.x - start.x);
  const bend = back ? -Math.max(60, length / 2) : length / 2;
  const c1 = vertical ? { x: start.x, y: start.y + bend } : { x: start.x + bend, y: start.y };
  const c2 = vertical ? { x: end.x, y: end.y - bend } : { x: end.x - bend, y: end.y };
  return {
    path: `C${point(c1)} ${point(c2)} ${point(end)}`,
    mid: {
      x: (start.x + 3 * c1.x + 3 * c2.x + end.x) / 8,
      y: (start.y + 3 * c1.y + 3 * c2.y + end.y) / 8,
    },
  };
}

/**
 * @param {{ x: number, y: number }} tip
 * @param {boolean} vertical
 * @param {number} turn
 */
function arrow(tip, vertical, turn) {
  const base = turn * ARROW * 1.4;
  const [a, b] = vertical
    ? [{ x: tip.x - 4, y: tip.y - base }, { x: tip.x + 4, y: tip.y - base }]
    : [{ x: tip.x - base, y: tip.y - 4 }, { x: tip.x - base, y: tip.y + 4 }];
  return `M${point(tip)}L${point(a)}L${point(b)}Z`;
}

/**
 * A point as path data.
 * @param {{ x: number, y: number }} at
 */
export const point = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/**
 * Where a node stands.
 * @param {Layout} at
 * @param {string} id
 * @returns {Place}
 */
export function placeOf(at, id) {
  return at.places.get(id) ?? { x: 0, y: 0, layer: 0 };
}

/**
 * How far from the middle of the side, within half of it.
 * @param {readonly Edge[]} edges
 * @param {Edge} edge
 * @param {(edge: Edge) => number} order
 * @param {number} side
 */
function spread(edges, edge, order, side) {
  const sorted = edges.toSorted((a, b) =>
    order(a) - order(b) || (edgeKey(a) < edgeKey(b) ? -1 : 1)
  );
  const step = Math.min(14, side / 2 / sorted.length);
  return (sorted.findIndex((e) => edgeKey(e) === edgeKey(edge)) - (sorted.length - 1) / 2) * step;
}
