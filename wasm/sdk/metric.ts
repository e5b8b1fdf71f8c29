// `counter({ name, help, labels })` as a metric of the manifest and a block of memory.

import { LIMITS, type ManifestLabel, type ManifestMetric } from "../abi.ts";
import type { Literals, Node } from "./ast.ts";
import { labelSize, type ManifestBuilder } from "./manifest.ts";

const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/** Three label sizes and the number of bounds, 4 bytes each, before the cells. */
const HEADER_BYTES = 16;

/** What the declaration is read with. */
export interface MetricScope {
  readonly literals: Literals;
  readonly manifest: ManifestBuilder;
  /** The slot of the configuration key that a top-level constant holds, or null. */
  field(name: string): number | null;
  isStatusClasses(name: string): boolean;
  methodCall(node: Node): { owner: string; method: string; args: readonly Node[] } | null;
}

/** Declares the metric; `args` are the SDK function's real arguments. */
export function layMetric(
  kind: ManifestMetric["kind"],
  node: Node | undefined,
  scope: MetricScope,
): { index: number; args: string; cellsAt: number } {
  const { literals, manifest } = scope;
  const fields = literals.object(node);
  if (fields === null) throw new Error(`write ${kind}({ name: "…", help: "…", labels: { … } })`);
  for (const key of fields.keys()) {
    if (!["name", "help", "labels", "bounds"].includes(key)) {
      throw new Error(`"${key}" is not a part of a metric: name, help, labels, bounds are`);
    }
  }
  const name = literals.string(fields.get("name"));
  if (name === null || !/^[a-z][a-z0-9_]*$/.test(name)) {
    throw new Error("a metric's name must be a literal of lower-case letters, digits and _");
  }
  const help = literals.string(fields.get("help"));
  if (help === null || help === "") throw new Error(`the metric "${name}" needs a help text`);
  const labelNodes = fields.has("labels") ? literals.object(fields.get("labels")) : new Map();
  if (labelNodes === null) throw new Error("labels must be written as { name: values }");
  if (labelNodes.size > LIMITS.labels) throw new Error(`more than ${LIMITS.labels} labels`);
  const labels = [...labelNodes].map(([label, values]) => labelOf(label, values, scope));
  const bounds = (literals.array(fields.get("bounds")) ?? []).map((b) => literals.number(b) ?? NaN);
  const isHistogram = kind === "histogram";
  const isSorted = bounds.every((b, i) => i === 0 || b > (bounds[i - 1] as number));
  if (isHistogram !== bounds.length > 0 || !isSorted || bounds.length > LIMITS.bounds) {
    throw new Error(
      isHistogram
        ? `a histogram needs bounds: 1 to ${LIMITS.bounds} growing numbers`
        : `a ${kind} has no bounds`,
    );
  }
  const sizes = labels.map((label) => labelSize(label, (slot) => manifest.fieldAt(slot)));
  while (sizes.length < 3) sizes.push(1);
  const series = sizes.reduce((a, b) => a * b, 1);
  if (series > LIMITS.seriesPerMetric) {
    throw new Error(`${series} series; a metric may have ${LIMITS.seriesPerMetric}`);
  }
  const index = manifest.metric({ kind, name, help, labels, bounds });
  const cellsAt = HEADER_BYTES + bounds.length * 8;
  const bytes = cellsAt + series * 8 * (isHistogram ? bounds.length + 2 : 1);
  const asFloats = bounds.map((b) => Number.isInteger(b) ? `${b}.0` : String(b)).join(", ");
  const tail = isHistogram ? `, memory.data<f64>([${asFloats}]), ${bounds.length}` : "";
  return { index, args: `memory.data(${bytes}, 8), ${sizes.join(", ")}${tail}`, cellsAt };
}

function labelOf(name: string, node: Node, scope: MetricScope): ManifestLabel {
  const { literals } = scope;
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`"${name}" is not a label name`);
  const constant = literals.identifier(node);
  if (constant !== null && scope.isStatusClasses(constant)) return { name, values: STATUS_CLASSES };
  const call = scope.methodCall(node);
  const owner = constant ?? (call?.method === "or" ? call.owner : null);
  if (owner !== null) {
    const slot = scope.field(owner);
    const type = slot === null ? "" : scope.manifest.fieldAt(slot).type;
    if (slot === null || (type !== "list" && type !== "text")) {
      throw new Error(
        `the label "${name}": ${owner} is not a constant with config.list or config.text`,
      );
    }
    const or = call === null ? null : literals.string(call.args[0]);
    if (call !== null && or === null) throw new Error(`the label "${name}": write .or("…")`);
    return { name, config: slot, or };
  }
  const values = literals.array(node)?.map((value) => literals.string(value)) ?? null;
  if (values === null || values.length === 0 || values.includes(null)) {
    throw new Error(
      `the label "${name}" needs its values: ["…", "…"], STATUS_CLASSES, or a configured list`,
    );
  }
  return { name, values: values as string[] };
}
