// Counters: a sheet of numbers with one writer per thread. Series are made at target rate, with their
// labels; a request only adds to cells whose index it was handed. What is idle is dropped in groups, and
// there is a bound for all: nothing that a peer says can fill memory.

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
  /** It is dropped some time after it was last used; others stay. */
  readonly expires: boolean;
}

/** Series over this many fall into one overflow series per family, so that labels cannot fill memory. */
export const MAX_SERIES = 20_000;
/** The labels of the series that takes the place of those over the bound. */
export const OVERFLOW = 'overflow="true"';
/** Buckets that have an exemplar. */
export const MAX_EXEMPLARS = 2_000;

/** Who shows a worker's sheet to another thread: told of the memory and of each series in it. */
export interface SheetWatcher {
  /** The cells, from now on. What was in them before is in there too. */
  memory(cells: SharedArrayBuffer): void;
  series(family: Family, series: Series): void;
  /** A series is gone; its cells keep what they had until the sweep after this one. */
  dropped(family: Family, series: Series): void;
}

/** A request that a histogram's bucket stands for. */
export interface Exemplar {
  /** Hex digits. */
  readonly traceId: string;
  readonly value: number;
  /** When, by the wall clock. */
  readonly wallMs: number;
}

/** How a sheet is made. */
export interface SheetOptions {
  /** How many cells there are at first. */
  readonly cells?: number;
  /** With a watcher the cells are shared memory, which others may read and nobody else may write. */
  readonly watcher?: SheetWatcher | null;
  readonly maxSeries?: number;
}

/** The sheet of one thread. */
export class Sheet {
  cells: Float64Array;
  readonly families = new Map<string, Family>();
  /** By the cell of their bucket. */
  readonly exemplars = new Map<number, Exemplar>();
  /** Series that were refused for the bound, each counted when it was asked for. */
  overflows = 0;
  /** Called when a family has its first series over the bound. */
  onOverflow: (family: Family) => void = () => {};
  readonly #watcher: SheetWatcher | null;
  readonly #maxSeries: number;
  readonly #groups = new Map<string, SeriesGroup>();
  /** First cells that may be used again, by width; what was dropped last may still be read by others. */
  readonly #free = new Map<number, number[]>();
  #dropped: { readonly width: number; readonly cell: number }[] = [];
  #used = 0;
  #series = 0;

  constructor({ cells = 4096, watcher = null, maxSeries = MAX_SERIES }: SheetOptions = {}) {
    this.#watcher = watcher;
    this.#maxSeries = maxSeries;
    this.cells = this.#room(cells);
    this.#show();
  }

  /** Series that there are. */
  get size(): number {
    return this.#series;
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

  /** As `cell`, by labels as they are printed. With a group it goes when the group goes. */
  cellOf(family: Family, labels: string, group: SeriesGroup | null = null): number {
    const known = family.series.get(labels);
    if (known !== undefined) return known.cell;
    if (this.#series >= this.#maxSeries) {
      this.overflows++;
      const over = family.series.get(OVERFLOW);
      if (over !== undefined) return over.cell;
      this.onOverflow(family);
      return this.#add(family, OVERFLOW, null);
    }
    return this.#add(family, labels, group);
  }

  #add(family: Family, labels: string, group: SeriesGroup | null): number {
    const cell = this.#take(widthOf(family));
    const series = { labels, cell, expires: group !== null };
    this.#series++;
    family.series.set(labels, series);
    group?.members.push({ family, series });
    this.#watcher?.series(family, series);
    return cell;
  }

  #take(width: number): number {
    const free = this.#free.get(width)?.pop();
    if (free !== undefined) {
      this.cells.fill(0, free, free + width);
      return free;
    }
    if (this.#used + width > this.cells.length) {
      const larger = this.#room(this.cells.length * 2 + width);
      larger.set(this.cells);
      this.cells = larger;
      this.#show();
    }
    const cell = this.#used;
    this.#used += width;
    return cell;
  }

  /** The series of one holder, found again by `key` while they are used. Target rate. */
  group(key: string): SeriesGroup {
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new SeriesGroup(this);
      this.#groups.set(key, group);
    }
    return group;
  }

  /**
   * Drops the groups in which nothing was counted for `retainMs` and nothing is open. What `keeps`
   * names counts as used.
   */
  sweep(
    nowMs: number,
    retainMs: number,
    keeps: ((family: string, labels: string) => boolean) | null = null,
  ): void {
    for (const { width, cell } of this.#dropped) {
      const free = this.#free.get(width);
      if (free === undefined) this.#free.set(width, [cell]);
      else free.push(cell);
    }
    this.#dropped = [];
    for (const [key, group] of this.#groups) {
      if (!group.isIdle(nowMs, retainMs)) continue;
      if (keeps !== null && group.members.some((m) => keeps(m.family.name, m.series.labels))) {
        continue;
      }
      this.#groups.delete(key);
      group.live = false;
      for (const { family, series } of group.members) this.drop(family, series);
    }
  }

  /** Takes a series out; its cells are used again after the next sweep. */
  drop(family: Family, series: Series): void {
    // its place may be another's meanwhile
    if (family.series.get(series.labels) !== series) return;
    family.series.delete(series.labels);
    const width = widthOf(family);
    this.#series--;
    this.#dropped.push({ width, cell: series.cell });
    for (let i = 0; i < width && this.exemplars.size > 0; i++) {
      this.exemplars.delete(series.cell + i);
    }
    this.#watcher?.dropped(family, series);
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

  /** Counts a value into a histogram's buckets; answers which one it was, from 0. */
  observe(family: Family, cell: number, value: number): number {
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
    return lo;
  }

  /** Puts a request in for a bucket, in place of the one before. Over the bound it is left out. */
  exemplify(cell: number, bucket: number, exemplar: Exemplar): void {
    if (this.exemplars.size >= MAX_EXEMPLARS && !this.exemplars.has(cell + bucket)) return;
    this.exemplars.set(cell + bucket, exemplar);
  }
}

/**
 * Series that are used, and dropped, together. Who holds cells of it looks at `live` before it counts,
 * and asks for a new group when that is false: its old cells may be another's.
 */
export class SeriesGroup {
  live = true;
  readonly members: { readonly family: Family; readonly series: Series }[] = [];
  readonly #sheet: Sheet;
  /** What was counted when it was last looked at. */
  #seen = -1;
  #usedMs = 0;

  constructor(sheet: Sheet) {
    this.#sheet = sheet;
  }

  /** The cell of a series of this group, made when it is new. */
  cell(family: Family, labels: Labels): number {
    return this.#sheet.cellOf(family, formatLabels(labels), this);
  }

  /** Whether nothing happened for `retainMs`. Whatever a gauge counts is still there, so it is not idle. */
  isIdle(nowMs: number, retainMs: number): boolean {
    const { cells } = this.#sheet;
    let sum = 0;
    for (const { family, series: { cell } } of this.members) {
      const value = cells[cell] as number;
      if (family.type === "gauge" && value !== 0) sum = NaN;
      const counts = family.type === "histogram" ? family.bounds.length + 1 : 1;
      for (let i = 0; i < counts; i++) sum += cells[cell + i] as number;
    }
    // NaN is unlike everything, itself included
    if (sum !== this.#seen) {
      this.#seen = sum;
      this.#usedMs = nowMs;
    }
    return nowMs - this.#usedMs >= retainMs;
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
