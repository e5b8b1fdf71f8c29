// The sheets of several threads as one: what a main thread knows of each worker's series, and their sum
// at scrape rate. Reads memory that its owner goes on writing: a value may be a moment old, never torn.

import { type Family, type Series, Sheet, widthOf } from "./sheet.ts";

/** A family without its series, as it goes from thread to thread. */
export type FamilyInfo = Omit<Family, "series">;

/** A series of another thread. */
interface RemoteSeries {
  readonly family: FamilyInfo;
  readonly labels: string;
  readonly cell: number;
  readonly expires: boolean;
}

/** Another thread's sheet, kept up by what its `SheetWatcher` heard. */
export class RemoteSheet {
  #cells: Float64Array = new Float64Array(0);
  /** By family and labels. */
  readonly #series = new Map<string, RemoteSeries>();

  memory(cells: SharedArrayBuffer): void {
    this.#cells = new Float64Array(cells);
  }

  series(family: FamilyInfo, { labels, cell, expires }: Series): void {
    this.#series.set(keyOf(family.name, labels), { family, labels, cell, expires });
  }

  has(family: string, labels: string): boolean {
    return this.#series.has(keyOf(family, labels));
  }

  /**
   * The thread dropped a series. While another one has it, its share stays in `past`: a sum must not
   * shrink, or it looks like a start from nothing.
   */
  dropped(family: string, labels: string, past: Sheet, others: Iterable<RemoteSheet>): void {
    const key = keyOf(family, labels);
    const gone = this.#series.get(key);
    if (gone === undefined) return;
    this.#series.delete(key);
    for (const other of others) {
      if (other === this || !other.#series.has(key)) continue;
      this.#add(gone, past, false);
      return;
    }
    const known = past.families.get(family);
    const left = known?.series.get(labels);
    if (known !== undefined && left !== undefined) past.drop(known, left);
  }

  /** Adds all values to those of `sum`. Without `gauges` only what grows: for a thread that is gone. */
  addTo(sum: Sheet, gauges: boolean): void {
    for (const one of this.#series.values()) this.#add(one, sum, gauges);
  }

  #add({ family, labels, cell, expires }: RemoteSeries, sum: Sheet, gauges: boolean): void {
    if (!gauges && family.type === "gauge") return;
    const { name, type, help, bounds } = family;
    const own = sum.family(name, type, help, bounds);
    const group = expires ? sum.group(keyOf(name, labels)) : null;
    addCells(this.#cells, cell, sum, sum.cellOf(own, labels, group), widthOf(family));
  }
}

/** Adds all values of another sheet of this thread, and takes its exemplars. */
export function addSheet(sum: Sheet, sheet: Sheet): void {
  for (const family of sheet.families.values()) {
    const own = sum.family(family.name, family.type, family.help, family.bounds);
    for (const { labels, cell } of family.series.values()) {
      addCells(sheet.cells, cell, sum, sum.cellOf(own, labels), widthOf(family));
    }
  }
  addExemplars(sum, exemplarsOf(sheet));
}

/** What a past thread counted goes once no thread has it any more, some time after it was last added to. */
export function sweepPast(
  past: Sheet,
  now: readonly RemoteSheet[],
  nowMs: number,
  ms: number,
): void {
  past.sweep(nowMs, ms, (family, labels) => now.some((sheet) => sheet.has(family, labels)));
}

/** An exemplar as it goes from thread to thread. */
export interface SentExemplar {
  readonly family: string;
  readonly labels: string;
  readonly bucket: number;
  readonly traceId: string;
  readonly value: number;
  readonly wallMs: number;
}

/** All exemplars of a sheet with the names of what they belong to. Scrape rate. */
export function exemplarsOf(sheet: Sheet): readonly SentExemplar[] {
  if (sheet.exemplars.size === 0) return [];
  const found: SentExemplar[] = [];
  for (const family of sheet.families.values()) {
    if (family.type !== "histogram") continue;
    for (const { labels, cell } of family.series.values()) {
      for (let bucket = 0; bucket <= family.bounds.length; bucket++) {
        const exemplar = sheet.exemplars.get(cell + bucket);
        if (exemplar !== undefined) {
          found.push({ family: family.name, labels, bucket, ...exemplar });
        }
      }
    }
  }
  return found;
}

/** Puts exemplars at the series that they belong to; the newest of a bucket stays. */
export function addExemplars(sum: Sheet, exemplars: readonly SentExemplar[]): void {
  for (const { family, labels, bucket, ...exemplar } of exemplars) {
    const series = sum.families.get(family)?.series.get(labels);
    if (series === undefined) continue;
    const before = sum.exemplars.get(series.cell + bucket);
    if (before === undefined || before.wallMs < exemplar.wallMs) {
      sum.exemplify(series.cell, bucket, exemplar);
    }
  }
}

function keyOf(family: string, labels: string): string {
  return `${family} ${labels}`;
}

function addCells(from: Float64Array, at: number, sum: Sheet, to: number, width: number): void {
  for (let i = 0; i < width; i++) sum.add(to + i, from[at + i] ?? 0);
}
