// Figures: the median of rounds, the machine that they are from, and a table for a terminal.

import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";

/** The middle value; the mean of the two middle ones of an even count. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? NaN) + high) / 2;
}

/** One line: processor, cores, system, kernel. */
export function machine(): string {
  let system = process.platform as string;
  try {
    system = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ??
      system;
  } catch {
    // Not Linux: the platform's name serves.
  }
  const model = cpus()[0]?.model.trim() ?? process.arch;
  return `${availableParallelism()} × ${model}, ${system}, kernel ${release()}`;
}

/** Columns aligned: the first to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? "").length)));
  return all.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))
      .join("  ").trimEnd()
  ).join("\n");
}
