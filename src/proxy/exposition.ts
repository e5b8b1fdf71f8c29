// The Prometheus text format (0.0.4), written from the sheet and from what filters keep. Scrape rate.

import type { FilterSeries } from "../core/filter.ts";
import { type Family, formatLabels, type Sheet } from "../core/sheet.ts";

/** The whole document. Families without series are left out. */
export function exposition(sheet: Sheet, filters: readonly FilterSeries[]): string {
  const lines: string[] = [];
  for (const family of sheet.families.values()) {
    if (family.series.size === 0) continue;
    header(lines, family);
    for (const { labels, cell } of family.series.values()) {
      const width = family.type === "histogram" ? family.bounds.length + 2 : 1;
      series(
        lines,
        family.name,
        family.type,
        family.bounds,
        labels,
        sheet.cells.subarray(cell, cell + width),
      );
    }
  }
  const named = new Set<string>();
  for (const { metric, labels, values } of filters) {
    const name = `filter_${metric.name}`;
    if (!named.has(name)) {
      named.add(name);
      header(lines, { name, type: metric.kind, help: metric.help });
    }
    series(lines, name, metric.kind, metric.bounds, formatLabels(labels), values);
  }
  lines.push("# EOF", "");
  return lines.join("\n");
}

function header(lines: string[], family: Pick<Family, "name" | "help" | "type">): void {
  lines.push(`# HELP ${family.name} ${family.help}.`, `# TYPE ${family.name} ${family.type}`);
}

/** Histogram values are a count per bound, then +Inf, then the sum; they become cumulative here. */
function series(
  lines: string[],
  name: string,
  type: Family["type"],
  bounds: readonly number[],
  labels: string,
  values: ArrayLike<number>,
): void {
  const braces = labels === "" ? "" : `{${labels}}`;
  if (type !== "histogram") {
    lines.push(`${name}${braces} ${values[0] ?? 0}`);
    return;
  }
  const join = labels === "" ? "" : ",";
  let total = 0;
  for (let i = 0; i <= bounds.length; i++) {
    total += values[i] ?? 0;
    const le = i === bounds.length ? "+Inf" : String(bounds[i]);
    lines.push(`${name}_bucket{${labels}${join}le="${le}"} ${total}`);
  }
  lines.push(
    `${name}_sum${braces} ${values[bounds.length + 1] ?? 0}`,
    `${name}_count${braces} ${total}`,
  );
}
