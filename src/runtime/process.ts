// The process itself: clocks, what it uses, and the signals that ask it to end. Handed to `main.ts`.

import process from "node:process";
import type { Clock } from "../core/clock.ts";

/** The machine's clocks. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, fire) {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  },
};

/** Memory and CPU, without reading /proc, which Deno would want every permission for. */
export function processUsage(): { rssBytes: number; cpuSeconds: number } {
  const { user, system } = process.cpuUsage();
  return {
    rssBytes: process.memoryUsage.rss?.() ?? process.memoryUsage().rss,
    cpuSeconds: (user + system) / 1e6,
  };
}

/** Calls once, at the first SIGTERM or SIGINT; a second one leaves at once. */
export function onStopSignal(stop: (signal: string) => void): void {
  let asked = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (asked) process.exit(130);
      asked = true;
      stop(signal);
    });
  }
}

/** Resolves at the first SIGTERM or SIGINT. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => onStopSignal(() => resolve()));
}

/** Writes a line for people: logs go to standard error. */
export function writeErrorLine(line: string): void {
  process.stderr.write(line + "\n");
}

/** What may wait for whoever reads standard error. */
const MAX_WAITING_BYTES = 1024 * 1024;

/** Writes lines that are whole already; false: too much waits for a slow reader, and they are lost. */
export function writeErrorLines(text: string): boolean {
  if (process.stderr.writableLength > MAX_WAITING_BYTES) return false;
  process.stderr.write(text);
  return true;
}

/** Leaves with a status. */
export function exit(status: number): never {
  process.exit(status);
}
