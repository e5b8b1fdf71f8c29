// Small lines of the last two minutes beside a figure. The figure says it, the line shows where it came
// from; readers without sight lose nothing, so it is hidden from them.

import { s, setAttribute } from "./dom.js";

const WIDTH = 84;
const HEIGHT = 22;

/** Points that fit; a shorter history begins at the right. */
export const POINTS = 120;

/**
 * The line as path data; gaps where there is no value. Values lie between `low` and `high`.
 * @param {readonly (number | null)[]} values
 * @param {number} low
 * @param {number} high
 * @param {number} [width]
 * @param {number} [height]
 * @returns {string}
 */
export function linePath(values, low, high, width = WIDTH, height = HEIGHT) {
  const step = (width - 4) / (POINTS - 1);
  const first = POINTS - values.length;
  const range = high - low || 1;
  let path = "";
  let pen = false;
  for (const [i, value] of values.entries()) {
    if (value === null) {
      pen = false;
      continue;
    }
    const x = 2 + (first + i) * step;
    const share = Math.min(1, Math.max(0, (value - low) / range));
    const y = height - 2 - share * (height - 4);
    path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  }
  return path;
}

/**
 * @returns {{ element: SVGSVGElement, update: (values: readonly (number | null)[], low?: number, high?: number) => void }}
 */
export function sparkline() {
  const line = s("path", { class: "spark-line" });
  const dot = s("circle", { class: "spark-dot", r: 2 });
  const element = s(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      "aria-hidden": "true",
    },
    line,
    dot,
  );
  return {
    element,
    update(all, low = 0, high) {
      const values = all.slice(-POINTS);
      const top = high ?? Math.max(1e-9, ...values.map((v) => v ?? 0)) * 1.1;
      const path = linePath(values, low, top);
      setAttribute(line, "d", path);
      const end = /([\d.]+) ([\d.]+)$/.exec(path);
      const live = end !== null && (values.at(-1) ?? null) !== null;
      setAttribute(dot, "visibility", live ? "visible" : "hidden");
      setAttribute(dot, "cx", end?.[1] ?? 0);
      setAttribute(dot, "cy", end?.[2] ?? 0);
    },
  };
}
