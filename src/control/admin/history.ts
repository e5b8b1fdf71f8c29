// The last two minutes of golden metrics, a point a second, so that a page that opens now has its
// sparklines at once and no Prometheus is needed. Bounded by services and points.

import type { History, Snapshot } from "../../api/admin.ts";

/** Points kept for each service. */
export const HISTORY_POINTS = 120;

/** Services with a history; others begin their lines when the page opens. */
const MAX_SERVICES = 500;

interface Line {
  rps: number[];
  successRate: (number | null)[];
  p95Ms: (number | null)[];
}

export class GoldenHistory {
  readonly #lines = new Map<string, Line>();
  readonly #stepMs: number;

  constructor(stepMs: number) {
    this.#stepMs = stepMs;
  }

  /** Adds the point of one step; services that are gone are forgotten. */
  add(view: Snapshot): void {
    const ids = new Set(view.services.map(({ id }) => id));
    for (const id of this.#lines.keys()) if (!ids.has(id)) this.#lines.delete(id);
    for (const { id, golden } of view.services) {
      let line = this.#lines.get(id);
      if (line === undefined) {
        if (this.#lines.size >= MAX_SERVICES) continue;
        this.#lines.set(id, line = { rps: [], successRate: [], p95Ms: [] });
      }
      push(line.rps, golden.rps);
      push(line.successRate, golden.successRate);
      push(line.p95Ms, golden.p95Ms);
    }
  }

  get value(): History {
    return { stepMs: this.#stepMs, services: Object.fromEntries(this.#lines) };
  }
}

function push<T>(line: T[], point: T): void {
  line.push(point);
  if (line.length > HISTORY_POINTS) line.shift();
}
