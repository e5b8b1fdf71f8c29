// The Prometheus text format (0.0.4) and OpenMetrics (1.0), written from the sheet and from what filters
// keep. Scrape rate.

import type { FilterSeries } from "../core/filter.ts";
import { type Exemplar, type Family, formatLabels, type Sheet } from "../core/sheet.ts";

/** The two formats, by their content types. */
export const FORMATS = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
} as const;

/** A way to write the document. */
export type Format = keyof typeof FORMATS;

/** What a scraper's `Accept` asks for: OpenMetrics where it is named, else the text format. */
export function formatFor(accept: string | undefined): Format {
  return accept?.toLowerCase().includes("application/openmetrics-text") ? "openmetrics" : "text";
}

/** The whole document. Families without series are left out. */
export function exposition(
  sheet: Sheet,
  filters: readonly FilterSeries[],
  format: Format = "text",
): string {
  const lines: string[] = [];
  for (const family of sheet.families.values()) {
    if (family.series.size === 0) continue;
    header(lines, family, format);
    for (const { labels, cell } of family.series.values()) {
      const width = family.type === "histogram" ? family.bounds.length + 2 : 1;
      series(
        lines,
        sampleName(family, format),
        family.type,
        family.bounds,
        labels,
        sheet.cells.subarray(cell, cell + width),
        format === "openmetrics" && sheet.exemplars.size > 0
          ? (bucket) => sheet.exemplars.get(cell + bucket)
          : NO_EXEMPLARS,
      );
    }
  }
  const named = new Set<string>();
  for (const { metric, labels, values } of filters) {
    const family = { name: `filter_${metric.name}`, type: metric.kind, help: metric.help };
    if (!named.has(family.name)) {
      named.add(family.name);
      header(lines, family, format);
    }
    series(
      lines,
      sampleName(family, format),
      metric.kind,
      metric.bounds,
      formatLabels(labels),
      values,
    );
  }
  lines.push("# EOF", "");
  return lines.join("\n");
}

/** The text format has none. */
const NO_EXEMPLARS = (): undefined => undefined;

/** OpenMetrics 1.0, «Exemplars»: labels, value, seconds since the epoch. */
function exampleText({ traceId, value, wallMs }: Exemplar): string {
  return ` # {trace_id="${traceId}"} ${value} ${wallMs / 1000}`;
}

type Named = Pick<Family, "name" | "help" | "type">;

function header(lines: string[], family: Named, format: Format): void {
  const name = format === "openmetrics" && family.type === "counter"
    ? family.name.replace(/_total$/, "")
    : family.name;
  lines.push(`# HELP ${name} ${family.help}.`, `# TYPE ${name} ${family.type}`);
}

/** In OpenMetrics each sample of a counter ends with `_total`, and its family's name does not. */
function sampleName({ name, type }: Named, format: Format): string {
  return format === "openmetrics" && type === "counter"
    ? `${name.replace(/_total$/, "")}_total`
    : name;
}

/** Histogram values are a count per bound, then +Inf, then the sum; they become cumulative here. */
function series(
  lines: string[],
  name: string,
  type: Family["type"],
  bounds: readonly number[],
  labels: string,
  values: ArrayLike<number>,
  exemplarOf: (bucket: number) => Exemplar | undefined = NO_EXEMPLARS,
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
    const exemplar = exemplarOf(i);
    const example = exemplar === undefined ? "" : exampleText(exemplar);
    lines.push(`${name}_bucket{${labels}${join}le="${le}"} ${total}${example}`);
  }
  lines.push(
    `${name}_sum${braces} ${values[bounds.length + 1] ?? 0}`,
    `${name}_count${braces} ${total}`,
  );
}
