// The last ten seconds of one proxy's counters: what grew since the scrape before, kept per scrape and
// summed when it is read. Survives a proxy that starts again (its counters begin at zero) and series
// that appear or are dropped. Fed by `scrape.ts`, read by `view.ts`.

import { readExposition, readSeries } from "./exposition.ts";
import { FAMILIES, FIELDS, meaningOf } from "./traffic.ts";
import type { Meaning } from "./traffic.ts";

/** Rates and quantiles are over this long. */
export const WINDOW_MS = 10_000;

/** Never more scrapes than this, however fast they come. */
const MAX_TICKS = 32;

interface Known {
  readonly meaning: Meaning | null;
  value: number;
  /** The scrape that saw it last. */
  scrape: number;
}

interface Tick {
  readonly atMs: number;
  readonly spanMs: number;
  readonly cells: ReadonlyMap<string, Float64Array>;
}

/** What was counted in the window: sums by field, and over how long. */
export interface CellSums {
  readonly fields: Float64Array;
  readonly spanMs: number;
}

export class ProxyWindow {
  readonly #known = new Map<string, Known>();
  #ticks: Tick[] = [];
  #gauges: ReadonlyMap<string, Float64Array> = new Map();
  #scrapes = 0;
  #lastMs = 0;

  /**
   * Takes one `/metrics` document, read at `nowMs`. The first one only says where counters stand.
   * Throws when it is malformed; what was known before is kept then.
   */
  scraped(text: string, nowMs: number): void {
    const samples = new Map<string, number>();
    readExposition(text, FAMILIES, (series, value) => {
      if (!(value >= 0 && value < Infinity)) {
        throw new Error(`${JSON.stringify(series.slice(0, 80))} counts ${value}`);
      }
      samples.set(series, value);
    });
    const fresh = this.#newSeries(samples);
    const scrape = ++this.#scrapes;
    const grown = new Map<string, Float64Array>();
    const gauges = new Map<string, Float64Array>();
    for (const [series, known] of fresh) this.#known.set(series, known);
    for (const [series, value] of samples) {
      const known = this.#known.get(series);
      if (known === undefined) continue;
      // A counter that is lower than it was began again at zero.
      const delta = value >= known.value ? value - known.value : value;
      known.value = value;
      known.scrape = scrape;
      if (known.meaning === null) continue;
      if (known.meaning.gauge) add(gauges, known.meaning, value);
      else if (delta > 0) add(grown, known.meaning, delta);
    }
    for (const [series, known] of this.#known) {
      if (known.scrape !== scrape) this.#known.delete(series);
    }
    if (scrape > 1) {
      this.#ticks.push({ atMs: nowMs, spanMs: nowMs - this.#lastMs, cells: grown });
      if (this.#ticks.length > MAX_TICKS) this.#ticks.shift();
    }
    this.#gauges = gauges;
    this.#lastMs = nowMs;
  }

  /** The proxy cannot be asked: nothing is open as far as anyone knows. */
  lost(): void {
    this.#gauges = new Map();
  }

  /** Services that requests or connections went to in the window, and `INBOUND`. */
  cells(nowMs: number): ReadonlySet<string> {
    const names = new Set(this.#gauges.keys());
    for (const tick of this.#recent(nowMs)) for (const name of tick.cells.keys()) names.add(name);
    return names;
  }

  /** Sums over the window that ends at `nowMs`. Zeros when nothing was counted. */
  sums(cell: string, nowMs: number): CellSums {
    const fields = new Float64Array(FIELDS);
    let spanMs = 0;
    for (const tick of this.#recent(nowMs)) {
      spanMs += tick.spanMs;
      addAll(fields, tick.cells.get(cell));
    }
    addAll(fields, this.#gauges.get(cell));
    return { fields, spanMs };
  }

  #recent(nowMs: number): readonly Tick[] {
    if (this.#ticks.some((tick) => tick.atMs <= nowMs - WINDOW_MS)) {
      this.#ticks = this.#ticks.filter((tick) => tick.atMs > nowMs - WINDOW_MS);
    }
    return this.#ticks;
  }

  /** Read before anything is changed, so that a malformed document changes nothing. */
  #newSeries(samples: ReadonlyMap<string, number>): Map<string, Known> {
    const fresh = new Map<string, Known>();
    for (const [series, value] of samples) {
      if (this.#known.has(series)) continue;
      const name = readSeries(series);
      if (name === null) throw new Error(`malformed series ${JSON.stringify(series.slice(0, 80))}`);
      // A series that appears later began at zero; one of the first scrape has an unknown past.
      const before = this.#scrapes === 0 ? value : 0;
      fresh.set(series, { meaning: meaningOf(name), value: before, scrape: 0 });
    }
    return fresh;
  }
}

function add(cells: Map<string, Float64Array>, meaning: Meaning, by: number): void {
  let fields = cells.get(meaning.cell);
  if (fields === undefined) cells.set(meaning.cell, fields = new Float64Array(FIELDS));
  for (const field of meaning.fields) (fields[field] as number) += by;
}

function addAll(to: Float64Array, from: Float64Array | undefined): void {
  if (from === undefined) return;
  for (let i = 0; i < to.length; i++) (to[i] as number) += from[i] as number;
}
