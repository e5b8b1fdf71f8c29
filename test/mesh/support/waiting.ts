// Waiting for what real processes do, which no fake clock moves; and reading what they count.

import type { Sample } from "../../../src/cli/demo-scrape.ts";

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Tries until it does not throw, or rejects with the last reason. */
export async function eventually<T>(
  what: string,
  attempt: () => T | Promise<T>,
  withinMs = 10_000,
): Promise<T> {
  const lateMs = performance.now() + withinMs;
  for (;;) {
    try {
      return await attempt();
    } catch (e) {
      if (performance.now() > lateMs) {
        const why = (e as Error).message;
        throw new Error(`${what}: not within ${withinMs} ms: ${why}`, { cause: e });
      }
    }
    await pause(20);
  }
}

/** The sum of a family's series whose labels have these values. */
export function sum(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  return samples
    .filter((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))
    .reduce((total, s) => total + s.value, 0);
}
