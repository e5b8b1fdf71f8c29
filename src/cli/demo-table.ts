// The demo's table as lines of text: made from figures, fitted to the terminal's width. Pure.

import type { FilterTotals, ServiceCounts } from "./demo-figures.ts";
import { percentile, share } from "./demo-figures.ts";
import type { EndpointFigures } from "./demo-scrape.ts";

/** What the table shows. */
export interface TableView {
  readonly elapsedMs: number;
  readonly dashboard: string;
  /** What happened in the window. */
  readonly services: ReadonlyMap<string, ServiceCounts>;
  readonly windowMs: number;
  /** Of the catalogue, as its caller's balancer sees them; `pod` is filled in by address. */
  readonly endpoints: readonly (EndpointFigures & { readonly pod: string })[];
  readonly filters: readonly FilterTotals[];
  readonly load: { readonly requests: number; readonly failed: number };
  readonly tally: { readonly connected: boolean; readonly lines: number } | null;
  readonly swaps: { readonly done: number; readonly crossed: number; readonly failed: number };
}

/** A column: heading, and whether its cells stand at the right. The last ones go first when it is narrow. */
type Column = readonly [heading: string, right: boolean];

const SERVICE_COLUMNS: readonly Column[] = [
  ["SERVICE", false],
  ["SUCCESS", true],
  ["RPS", true],
  ["P50", true],
  ["P95", true],
  ["P99", true],
  ["MTLS", true],
  ["ACTUAL", true],
];
const ENDPOINT_COLUMNS: readonly Column[] = [
  ["ENDPOINT", false],
  ["WEIGHT", true],
  ["EWMA", true],
  ["PENDING", true],
  ["STATE", false],
  ["ADDRESS", false],
];
const FILTER_COLUMNS: readonly Column[] = [
  ["FILTER", false],
  ["BUILD", false],
  ["CALLS", true],
  ["NS/CALL", true],
  ["TRAPS", true],
  ["STATE", false],
];

const GAP = "   ";
const BOLD = "\x1b[1m";
const RED = "\x1b[31m";
const PLAIN = "\x1b[0m";

/** The whole table, no line wider than `columns`. */
export function renderTable(view: TableView, columns: number, color: boolean): readonly string[] {
  const wide = Math.max(20, columns);
  const services = [...view.services].map(([name, of]) => serviceCells(name, of, view.windowMs));
  const endpoints = view.endpoints.map((e) => [
    e.pod,
    String(e.weight),
    ms(e.ewmaMs, 1),
    String(e.pending),
    e.state,
    e.addr,
  ]);
  const filters = view.filters.map((f) => [
    f.name,
    f.sha256.slice(0, 8),
    thousands(f.calls),
    f.nsPerCall === 0 ? "-" : thousands(f.nsPerCall),
    String(f.traps),
    f.state,
  ]);
  return [
    fit(`Tulle demo  ${clock(view.elapsedMs)}  ${view.dashboard}  Ctrl-C ends it`, wide),
    "",
    ...columnsOf(SERVICE_COLUMNS, services, wide, color),
    "",
    ...columnsOf(ENDPOINT_COLUMNS, endpoints, wide, color),
    "",
    ...columnsOf(FILTER_COLUMNS, filters, wide, color),
    "",
    ...footer(view).map((line) => fit(line, wide)),
  ];
}

/** The same in one line, for what is not a terminal. */
export function renderLine(view: TableView): string {
  const parts = [...view.services].map(([name, of]) => {
    const [, success, rps, p50, , p99] = serviceCells(name, of, view.windowMs);
    return `${name} ${success} ${rps} p50 ${p50} p99 ${p99}`;
  });
  const { done, crossed, failed } = view.swaps;
  return `${clock(view.elapsedMs)}  ${
    parts.join("  ")
  }  swaps ${done} (${crossed} crossed, ${failed} failed)`;
}

function serviceCells(name: string, of: ServiceCounts, windowMs: number): string[] {
  return [
    name,
    percent(share(of.requests - of.failures, of.requests)),
    windowMs <= 0 ? "-" : `${(of.requests * 1000 / windowMs).toFixed(1)}rps`,
    ms(percentile(of.latency, 0.5), 0),
    ms(percentile(of.latency, 0.95), 0),
    ms(percentile(of.latency, 0.99), 0),
    percent(share(of.arrivedMtls, of.arrived)),
    percent(share(of.attempts - of.failedAttempts, of.attempts)),
  ];
}

function footer(view: TableView): string[] {
  const { done, crossed, failed } = view.swaps;
  const load = `load: ${thousands(view.load.requests)} requests, ${view.load.failed} failed`;
  const tally = view.tally === null
    ? ""
    : view.tally.connected
    ? `${GAP}tally (tcp): ${thousands(view.tally.lines)} lines`
    : `${GAP}tally (tcp): not connected`;
  return [
    load + tally,
    `filter swaps: ${done}, ${thousands(crossed)} requests crossed them, ${failed} failed`,
  ];
}

function columnsOf(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  wide: number,
  color: boolean,
): string[] {
  const widths = columns.map(([heading], i) =>
    Math.max(heading.length, ...rows.map((row) => row[i]?.length ?? 0))
  );
  let count = columns.length;
  const widthOf = (n: number) =>
    widths.slice(0, n).reduce((sum, w) => sum + w, 0) + GAP.length * (n - 1);
  while (count > 2 && widthOf(count) > wide) count--;
  const line = (cells: readonly string[]) =>
    fit(
      cells.slice(0, count).map((cell, i) =>
        columns[i]?.[1] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)
      ).join(GAP).trimEnd(),
      wide,
    );
  const head = line(columns.map(([heading]) => heading));
  const body = rows.map(line);
  if (body.length === 0) body.push("-");
  return [color ? BOLD + head + PLAIN : head, ...body];
}

/** A failing line in red, where there is color. */
export function alarm(line: string, color: boolean): string {
  return color ? RED + line + PLAIN : line;
}

/** Cuts a line to the width; never wraps, since wrapping would break redrawing in place. */
export function fit(line: string, wide: number): string {
  return line.length <= wide ? line : line.slice(0, Math.max(0, wide - 1)) + "…";
}

function percent(value: number | null): string {
  if (value === null) return "-";
  // 99.996 % is not 100 %
  const text = (Math.floor(value * 10_000) / 100).toFixed(2);
  return `${text}%`;
}

function ms(value: number | null, digits: number): string {
  return value === null ? "-" : `${value.toFixed(digits)}ms`;
}

function thousands(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

function clock(elapsedMs: number): string {
  const s = Math.floor(elapsedMs / 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${two(Math.floor(s / 60))}:${two(s % 60)}`;
}
