// What filters count: f64 cells in their memory, folded into totals that outlive instances, modules
// and configurations. Read when scraped and when an instance is dropped, never while requests run.

import type { FilterSeries, MetricInfo } from "../../src/core/filter.ts";
import type { ManifestLabel } from "../abi.ts";
import { METRIC_EXPORT } from "../abi.ts";
import { fromByteString } from "./config.ts";
import type { Guest } from "./guest.ts";
import { labelRoom } from "./manifest.ts";
import type { FilterPlan } from "./plan.ts";

/** Most series that one thread keeps for all filters. */
const MAX_SERIES = 10_000;

interface Total {
  readonly metric: MetricInfo;
  readonly labels: Readonly<Record<string, string>>;
  readonly values: number[];
}

/** All filters' totals. */
export class MetricStore {
  readonly #totals = new Map<string, Total>();
  /** Series that found no room. */
  dropped = 0;

  /** Totals of `metric` for these label values; null when there is no room for more. */
  total(metric: MetricInfo, labels: Readonly<Record<string, string>>): number[] | null {
    const key = JSON.stringify([metric.name, metric.kind, metric.bounds, labels]);
    let total = this.#totals.get(key);
    if (total === undefined) {
      if (this.#totals.size >= MAX_SERIES) {
        this.dropped++;
        return null;
      }
      const width = metric.kind === "histogram" ? metric.bounds.length + 2 : 1;
      total = { metric, labels, values: new Array<number>(width).fill(0) };
      this.#totals.set(key, total);
    }
    return total.values;
  }

  series(): readonly FilterSeries[] {
    return [...this.#totals.values()];
  }
}

/** Where a metric's cells are, and what was in them at the last fold. */
interface Cells {
  readonly info: MetricInfo;
  readonly address: number;
  readonly rows: readonly (Readonly<Record<string, string>> | null)[];
  readonly last: Float64Array;
  readonly totals: (number[] | null)[];
}

/** One instance's cells. `fold` adds what was counted since the last fold. */
export class MetricFold {
  readonly #memory: WebAssembly.Memory;
  readonly #metrics: readonly Cells[];
  readonly #store: MetricStore;

  private constructor(
    memory: WebAssembly.Memory,
    metrics: readonly Cells[],
    store: MetricStore,
  ) {
    this.#memory = memory;
    this.#metrics = metrics;
    this.#store = store;
  }

  /** Null when the filter counts nothing. */
  static of(guest: Guest, plan: FilterPlan, store: MetricStore): MetricFold | null {
    const { memory } = guest;
    if (memory === null || plan.manifest.metrics.length === 0) return null;
    const metrics = plan.manifest.metrics.map((metric, i) => {
      const info = plan.info.metrics[i] as MetricInfo;
      const global = guest.exports[`${METRIC_EXPORT}${i}`] as WebAssembly.Global;
      const rows = rowsOf(metric.labels, plan);
      const width = info.kind === "histogram" ? info.bounds.length + 2 : 1;
      return {
        info,
        address: Number(global.value) >>> 0,
        rows,
        last: new Float64Array(rows.length * width),
        totals: new Array<number[] | null>(rows.length).fill(null),
      };
    });
    return new MetricFold(memory, metrics, store);
  }

  fold(): void {
    const view = new DataView(this.#memory.buffer);
    for (const { info, address, rows, last, totals } of this.#metrics) {
      if (address + last.byteLength > view.byteLength) continue; // an address that is none
      const width = last.length / rows.length;
      for (let row = 0; row < rows.length; row++) {
        const labels = rows[row];
        if (!labels) continue;
        for (let i = row * width; i < (row + 1) * width; i++) {
          const now = view.getFloat64(address + i * 8, true);
          const before = last[i] as number;
          if (now === before || !Number.isFinite(now)) continue;
          last[i] = now;
          const total = totals[row] ??= this.#store.total(info, labels);
          if (total === null) break;
          const at = i - row * width;
          if (info.kind === "gauge") total[at] = now;
          else if (now > before) total[at] = (total[at] as number) + now - before;
        }
      }
    }
  }
}

/** The labels of each series in the order of the cells; null for room that nothing is named for. */
function rowsOf(
  labels: readonly ManifestLabel[],
  plan: FilterPlan,
): (Readonly<Record<string, string>> | null)[] {
  let rows: (Readonly<Record<string, string>> | null)[] = [{ filter: plan.ref.name }];
  for (const label of labels) {
    const values = valuesOf(label, plan);
    rows = rows.flatMap((row) =>
      values.map((value) => row === null || value === null ? null : { ...row, [label.name]: value })
    );
  }
  return rows;
}

function valuesOf(label: ManifestLabel, plan: FilterPlan): (string | null)[] {
  if ("values" in label) return [...label.values];
  const { config, manifest } = plan;
  const field = manifest.config[label.config];
  const texts = field?.type === "list"
    ? config.lists[label.config] ?? []
    : [config.texts[label.config] ?? ""];
  const values: (string | null)[] = texts.map(fromByteString);
  if (label.or !== null) values.push(label.or);
  const room = labelRoom(label, manifest.config);
  while (values.length < room) values.push(null);
  return values;
}
