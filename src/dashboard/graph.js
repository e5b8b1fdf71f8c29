// The service graph: nodes with their golden metrics, edges with their rate and a lock where they are
// mutual TLS. Placed again only when nodes, edges or the width change; figures change in place.

import { h, keyed, s, setAttribute, setText } from "./dom.js";
import { duration, health, percent, rate } from "./format.js";
import { layout } from "./layout.js";

/**
 * @import { EdgeView, ServiceView, Snapshot } from "../api/admin.ts"
 * @import { Layout, Place } from "./layout.js"
 */

/**
 * @typedef {{ id: string, name: string, service: ServiceView | null, rps: number, layout: Layout }} Node
 * @typedef {EdgeView & { path: string, arrow: string, mid: { x: number, y: number } }} Line
 */

/** From the roomiest; the first that fits is taken, and rows, which always fit, when none does. */
const COLUMNS = [
  { vertical: false, nodeWidth: 172, nodeHeight: 70, gapAlong: 104, gapAcross: 30 },
  { vertical: false, nodeWidth: 150, nodeHeight: 70, gapAlong: 74, gapAcross: 30 },
];
const ROWS = { vertical: true, nodeWidth: 140, nodeHeight: 70, gapAlong: 62, gapAcross: 18 };
const MARGIN = 18;
const ARROW = 5;

const LOCK = "M3.5 6V4.2a2.5 2.5 0 0 1 5 0V6M2.5 6h7v5h-7z";
const OPEN_LOCK = "M3.5 6V4.2a2.5 2.5 0 0 1 4.9-.7M2.5 6h7v5h-7z";

/**
 * @param {HTMLElement} container
 * @returns {{ update: (snapshot: Snapshot) => void }}
 */
export function graph(container) {
  const edgeLayer = s("g", { class: "edges" });
  const nodeLayer = s("g", { class: "nodes" });
  const labelLayer = s("g", { class: "labels", "aria-hidden": "true" });
  const svg = s("svg", { role: "group" }, edgeLayer, labelLayer, nodeLayer);
  const words = h("p", { class: "sr-only" });
  container.append(svg, words);

  const drawEdges = keyed(edgeLayer, edgeKey, edgeLine);
  const drawLabels = keyed(labelLayer, edgeKey, edgeLabel);
  const drawNodes = keyed(nodeLayer, (/** @type {Node} */ node) => node.id, nodeCard);

  /** @type {Snapshot | null} */
  let shown = null;
  /** @type {Layout | null} */
  let placed = null;
  let placedFor = "";

  /** @param {Snapshot} snapshot */
  function update(snapshot) {
    shown = snapshot;
    const edges = snapshot.edges.filter(({ from, to }) => from !== to);
    const services = new Map(snapshot.services.map((service) => [service.id, service]));
    const ids = [...new Set([...services.keys(), ...edges.flatMap((e) => [e.from, e.to])])];
    container.hidden = ids.length === 0;
    if (ids.length === 0) return;

    const width = Math.max(280, container.clientWidth - 2 * MARGIN);
    const key = JSON.stringify([width, ids.toSorted(), edges.map(edgeKey).sort()]);
    if (placed === null || key !== placedFor) {
      placed = COLUMNS.map((sizes) => layout(ids, edges, width, sizes))
        .find((l) => l.width <= width + 1) ?? layout(ids, edges, width, ROWS);
      placedFor = key;
      const [w, hgt] = [placed.width + 2 * MARGIN, placed.height + 2 * MARGIN];
      setAttribute(svg, "viewBox", `${-MARGIN} ${-MARGIN} ${w} ${hgt}`);
      setAttribute(svg, "width", w);
      setAttribute(svg, "height", hgt);
    }
    const at = placed;
    const lines = edges.map((edge) => ({ ...edge, ...route(edge, edges, at) }));
    drawEdges(lines);
    drawLabels(lines);
    drawNodes(ids.map((id) => ({
      id,
      name: id.slice(id.indexOf("/") + 1),
      service: services.get(id) ?? null,
      rps: edges.filter((e) => e.from === id).reduce((sum, e) => sum + e.rps, 0),
      layout: at,
    })));
    const said = edges.map((e) => `${nameOf(e.from)} calls ${nameOf(e.to)}`).sort().join(", ");
    setText(words, said === "" ? "No service calls another." : `${said}.`);
  }

  new ResizeObserver(() => {
    if (shown !== null) update(shown);
  }).observe(container);
  return { update };
}

/** @param {{ from: string, to: string }} edge */
const edgeKey = (edge) => `${edge.from} ${edge.to}`;

/** @param {string} id */
const nameOf = (id) => id.slice(id.indexOf("/") + 1);

/**
 * The way of an edge. Several edges of one node leave and arrive side by side, in the order of where
 * they go, so that they do not cross at once.
 * @param {EdgeView} edge
 * @param {readonly EdgeView[]} edges
 * @param {Layout} at
 */
function route(edge, edges, at) {
  const size = at.sizes;
  const from = placeOf(at, edge.from);
  const to = placeOf(at, edge.to);
  const across = at.sizes.vertical ? "x" : "y";
  const side = at.sizes.vertical ? size.nodeWidth : size.nodeHeight;
  const out = spread(
    edges.filter((e) => e.from === edge.from),
    edge,
    (e) => placeOf(at, e.to)[across],
    side,
  );
  const into = spread(
    edges.filter((e) => e.to === edge.to),
    edge,
    (e) => placeOf(at, e.from)[across],
    side,
  );
  const back = to.layer <= from.layer;
  const start = at.sizes.vertical
    ? { x: from.x + size.nodeWidth / 2 + out, y: from.y + (back ? 0 : size.nodeHeight) }
    : { x: from.x + (back ? 0 : size.nodeWidth), y: from.y + size.nodeHeight / 2 + out };
  const end = at.sizes.vertical
    ? { x: to.x + size.nodeWidth / 2 + into, y: to.y + (back ? size.nodeHeight : 0) }
    : { x: to.x + (back ? size.nodeWidth : 0), y: to.y + size.nodeHeight / 2 + into };
  const tip = { ...end };
  const turn = back ? -1 : 1;
  // The line ends in the arrow, not under its tip.
  end[at.sizes.vertical ? "y" : "x"] -= turn * ARROW;
  const passed = at.ways.get(edgeKey(edge)) ?? [];
  const depth = at.sizes.vertical ? { x: 0, y: size.nodeHeight } : { x: size.nodeWidth, y: 0 };
  let path = `M${p(start)}`;
  let mid = null;
  let at1 = start;
  for (const way of passed) {
    const part = curve(at1, way, at.sizes.vertical, false);
    at1 = { x: way.x + depth.x, y: way.y + depth.y };
    path += `${part.path}L${p(at1)}`;
    mid ??= part.mid;
  }
  const last = curve(at1, end, at.sizes.vertical, back);
  return {
    path: path + last.path,
    mid: mid ?? last.mid,
    arrow: arrow(tip, at.sizes.vertical, turn),
  };
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
    path: `C${p(c1)} ${p(c2)} ${p(end)}`,
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
  return `M${p(tip)}L${p(a)}L${p(b)}Z`;
}

/** @param {{ x: number, y: number }} point */
const p = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/**
 * @param {Layout} at
 * @param {string} id
 * @returns {Place}
 */
function placeOf(at, id) {
  return at.places.get(id) ?? { x: 0, y: 0, layer: 0 };
}

/**
 * How far from the middle of the side, within half of it.
 * @param {readonly EdgeView[]} edges
 * @param {EdgeView} edge
 * @param {(edge: EdgeView) => number} order
 * @param {number} side
 */
function spread(edges, edge, order, side) {
  const sorted = edges.toSorted((a, b) =>
    order(a) - order(b) || (edgeKey(a) < edgeKey(b) ? -1 : 1)
  );
  const step = Math.min(14, side / 2 / sorted.length);
  return (sorted.findIndex((e) => edgeKey(e) === edgeKey(edge)) - (sorted.length - 1) / 2) * step;
}

/** @returns {{ element: SVGGElement, update: (line: Line) => void }} */
function edgeLine() {
  const path = s("path", { class: "edge" });
  const arrow = s("path", { class: "arrow" });
  const title = s("title");
  const element = s("g", {}, title, path, arrow);
  return {
    element,
    update(line) {
      setAttribute(path, "d", line.path);
      const width = 1.25 + Math.min(3, Math.log10(1 + line.rps));
      setAttribute(path, "stroke-width", width.toFixed(2));
      setAttribute(arrow, "d", line.arrow);
      const is = line.rps > 0 ? health(line.successRate) : "idle";
      setAttribute(element, "class", `line is-${is}`);
      setAttribute(path, "stroke-dasharray", line.mtls !== null && line.mtls < 1 ? "5 5" : null);
      setText(title, describe(line));
    },
  };
}

/** @returns {{ element: SVGGElement, update: (line: Line) => void }} */
function edgeLabel() {
  const back = s("rect", { class: "pill", height: 20, rx: 10, y: -10 });
  const icon = s("path", { class: "lock" });
  const text = s("text", { class: "pill-text", y: 4 });
  const element = s("g", {}, back, icon, text);
  return {
    element,
    update(line) {
      const label = line.rps > 0 ? rate(line.rps) : `${line.connections} open`;
      const secure = line.mtls === 1;
      const width = 30 + label.length * 6.4;
      setAttribute(element, "transform", `translate(${p(line.mid)})`);
      setAttribute(back, "x", -width / 2);
      setAttribute(back, "width", width);
      setAttribute(icon, "d", secure ? LOCK : OPEN_LOCK);
      setAttribute(icon, "class", secure ? "lock" : "lock is-open");
      setAttribute(icon, "transform", `translate(${-width / 2 + 6} -7)`);
      setAttribute(text, "x", -width / 2 + 22);
      setText(text, label);
    },
  };
}

/** @param {EdgeView} edge */
function describe(edge) {
  const secure = edge.mtls === null
    ? "no traffic"
    : edge.mtls === 1
    ? "all mutual TLS"
    : `${percent(edge.mtls)} mutual TLS`;
  const traffic = edge.rps > 0
    ? `${rate(edge.rps)}, ${percent(edge.successRate)} success, p95 ${duration(edge.p95Ms)}`
    : `${edge.connections} open connections`;
  return `${nameOf(edge.from)} → ${nameOf(edge.to)}: ${traffic}, ${secure}`;
}

/** @returns {{ element: SVGElement, update: (node: Node) => void }} */
function nodeCard() {
  const box = s("rect", { class: "node-box", rx: 10 });
  const bar = s("rect", { class: "node-bar", width: 4, x: 10, y: 14, rx: 2 });
  const name = s("text", { class: "node-name", x: 24, y: 26 });
  const first = s("text", { class: "node-figure", x: 24, y: 44 });
  const second = s("text", { class: "node-figure muted", x: 24, y: 60 });
  const title = s("title");
  const element = s("a", {}, title, box, bar, name, first, second);
  return {
    element,
    update(node) {
      const size = node.layout.sizes;
      setAttribute(element, "transform", `translate(${p(placeOf(node.layout, node.id))})`);
      setAttribute(box, "width", size.nodeWidth);
      setAttribute(box, "height", size.nodeHeight);
      setAttribute(bar, "height", size.nodeHeight - 28);
      setText(name, fit(node.name, size.nodeWidth - 34));
      const { service } = node;
      const golden = service?.golden;
      const is = golden === undefined ? "client" : health(golden.successRate);
      setAttribute(element, "class", `node is-${is}`);
      // A workload without a Service has no row to go to.
      setAttribute(element, "href", service === null ? null : `#service-${node.id}`);
      if (golden === undefined) {
        setText(first, `sends ${rate(node.rps)}`);
        setText(second, "no Service");
      } else if (golden.successRate === null) {
        setText(first, "no requests");
        setText(second, readiness(service));
      } else {
        setText(first, `${percent(golden.successRate)} · ${rate(golden.rps)}`);
        setText(second, `p95 ${duration(golden.p95Ms)}`);
      }
      setText(title, `${node.id}: ${first.textContent}, ${second.textContent}`);
    },
  };
}

/** @param {ServiceView | null} service */
function readiness(service) {
  const endpoints = service?.endpoints ?? [];
  return `${endpoints.filter((e) => e.ready).length} of ${endpoints.length} ready`;
}

/**
 * @param {string} text
 * @param {number} width
 */
function fit(text, width) {
  const most = Math.floor(width / 7.4);
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
