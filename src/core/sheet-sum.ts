// The sheets of several threads as one: what a main thread knows of each worker's series, and their sum
// at scrape rate. Reads memory that its owner goes on writing: a value may be a moment old, never torn.

import { type Family, type Series, Sheet, widthOf } from "./sheet.ts";

/** A family without its series, as it goes from thread to thread. */
export type FamilyInfo = Omit<Family, "series">;

/** Another thread's sheet, kept up by what its `SheetWatcher` heard. */
export class RemoteSheet {
  #cells: Float64Array = new Float64Array(0);
  readonly #series: {
    readonly family: FamilyInfo;
    readonly labels: string;
    readonly cell: number;
  }[] = [];

  memory(cells: SharedArrayBuffer): void {
    this.#cells = new Float64Array(cells);
  }

  series(family: FamilyInfo, { labels, cell }: Pick<Series, "labels" | "cell">): void {
    this.#series.push({ family, labels, cell });
  }

  /** Adds all values to those of `sum`. Without `gauges` only what grows: for a thread that is gone. */
  addTo(sum: Sheet, gauges: boolean): void {
    for (const { family, labels, cell } of this.#series) {
      if (!gauges && family.type === "gauge") continue;
      const { name, type, help, bounds } = family;
      const own = sum.family(name, type, help, bounds);
      addCells(this.#cells, cell, sum, sum.cellOf(own, labels), widthOf(family));
    }
  }
}

/** Adds all values of another sheet of this thread. */
export function addSheet(sum: Sheet, sheet: Sheet): void {
  for (const family of sheet.families.values()) {
    const own = sum.family(family.name, family.type, family.help, family.bounds);
    for (const { labels, cell } of family.series.values()) {
      addCells(sheet.cells, cell, sum, sum.cellOf(own, labels), widthOf(family));
    }
  }
}

function addCells(from: Float64Array, at: number, sum: Sheet, to: number, width: number): void {
  for (let i = 0; i < width; i++) sum.add(to + i, from[at + i] ?? 0);
}
