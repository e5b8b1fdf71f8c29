// The service graph: nodes with their golden metrics, edges with their rate and a lock where they are
// mutual TLS. Placed again only when nodes, edges or the width change; figures change in place.

import { h, keyed, s, setAttribute, setText } from "./dom.js";
import { edgeKey, pathOf, placeOf, point } from "./edge-path.js";
import { duration, health, percent, rate } from "./format.js";
import { layout } from "./layout.js";

/**
 * @import { EdgeView, ServiceView, Snapshot } from "../api/admin.ts"
 * @import { Layout } from "./layout.js"
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
    const lines = edges.map((edge) => ({ ...edge, ...pathOf(edge, edges, at) }));
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

/** @param {string} id */
const nameOf = (id) => id.slice(id.indexOf("/") + 1);

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
      setAttribute(element, "transform", `translate(${point(line.mid)})`);
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
      setAttribute(element, "transform", `translate(${point(placeOf(node.layout, node.id))})`);
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
