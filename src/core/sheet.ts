// Counters: a sheet of numbers with one writer per thread. Series are made at target rate, with their
// labels; a request only adds to cells whose index it was handed.

/** Label names and values of a series, in the order in which they are printed. */
export type Labels = Readonly<Record<string, string>>;

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** Upper bounds of a histogram, without +Inf. */
  readonly bounds: readonly number[];
  /** Series by their printed labels. */
  readonly series: Map<string, Series>;
}

export interface Series {
  readonly labels: string;
  /** First cell. Histograms: one per bound, +Inf, sum; not cumulative until they are printed. */
  readonly cell: number;
  /** When it was last asked for; see `expire`. */
  touchedMs: number;
}

/** Series over this many fall into one overflow series per family, so that labels cannot fill memory. */
export const MAX_SERIES = 20_000;

/** Who shows a worker's sheet to another thread: told of the memory and of each series in it. */
export interface SheetWatcher {
  /** The cells, from now on. What was in them before is in there too. */
  memory(cells: SharedArrayBuffer): void;
  series(family: Family, series: Series): void;
}

/** The sheet of one thread. */
export class Sheet {
  cells: Float64Array;
  readonly families = new Map<string, Family>();
  readonly #watcher: SheetWatcher | null;
  #used = 0;
  #series = 0;

  /** With a watcher the cells are shared memory, which others may read and nobody else may write. */
  constructor(cells = 4096, watcher: SheetWatcher | null = null) {
    this.#watcher = watcher;
    this.cells = this.#room(cells);
    this.#show();
  }

  /** Declares a family; the same name gives the same family. */
  family(name: string, type: Family["type"], help: string, bounds: readonly number[] = []): Family {
    let family = this.families.get(name);
    if (family === undefined) {
      family = { name, help, type, bounds, series: new Map() };
      this.families.set(name, family);
    }
    return family;
  }

  /** The cell of a series, made when it is new. Target rate: keep the index, do not call per request. */
  cell(family: Family, labels: Labels): number {
    return this.cellOf(family, formatLabels(labels));
  }

  /** As `cell`, by labels as they are printed. */
  cellOf(family: Family, labels: string): number {
    let text = labels;
    let series = family.series.get(text);
    if (series !== undefined) return series.cell;
    if (this.#series >= MAX_SERIES) {
      text = 'overflow="true"';
      series = family.series.get(text);
      if (series !== undefined) return series.cell;
    }
    const width = widthOf(family);
    if (this.#used + width > this.cells.length) {
      const larger = this.#room(this.cells.length * 2 + width);
      larger.set(this.cells);
      this.cells = larger;
      this.#show();
    }
    series = { labels: text, cell: this.#used, touchedMs: 0 };
    this.#used += width;
    this.#series++;
    family.series.set(text, series);
    this.#watcher?.series(family, series);
    return series.cell;
  }

  #room(cells: number): Float64Array {
    return this.#watcher === null
      ? new Float64Array(cells)
      : new Float64Array(new SharedArrayBuffer(cells * Float64Array.BYTES_PER_ELEMENT));
  }

  #show(): void {
    const { buffer } = this.cells;
    if (buffer instanceof SharedArrayBuffer) this.#watcher?.memory(buffer);
  }

  /** Adds to a counter or gauge. */
  add(cell: number, by: number): void {
    (this.cells[cell] as number) += by;
  }

  /** Sets a gauge. */
  set(cell: number, value: number): void {
    this.cells[cell] = value;
  }

  /** Counts a value into a histogram's buckets. */
  observe(family: Family, cell: number, value: number): void {
    const { bounds } = family;
    let lo = 0;
    let hi = bounds.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (value <= (bounds[mid] as number)) hi = mid;
      else lo = mid + 1;
    }
    (this.cells[cell + lo] as number)++;
    (this.cells[cell + bounds.length + 1] as number) += value;
  }
}

/** How many cells a series of the family has. */
export function widthOf(family: Pick<Family, "type" | "bounds">): number {
  return family.type === "histogram" ? family.bounds.length + 2 : 1;
}

/** `a="1",b="2"`, escaped as the exposition format wants. Empty for no labels. */
export function formatLabels(labels: Labels): string {
  return Object.entries(labels).map(([k, v]) => `${k}="${escapeLabel(v)}"`).join(",");
}

function escapeLabel(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}
