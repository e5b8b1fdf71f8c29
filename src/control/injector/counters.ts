// What the injector counts: a fixed set of series, whatever pods it is asked about, so that memory does
// not grow with them.

import { SKIP_TEXTS } from "./decide.ts";
import type { Outcome } from "./review.ts";

/** Counters of one injector, and their text for a scrape. */
export class InjectorCounters {
  readonly #outcomes = new Map<Outcome["kind"], number>();
  readonly #skips = new Map<string, number>();
  readonly #refusals = new Map<number, number>();

  /** One review was answered. */
  reviewed(outcome: Outcome): void {
    count(this.#outcomes, outcome.kind);
    if (outcome.kind !== "skipped") return;
    for (const reason of outcome.reasons) if (reason in SKIP_TEXTS) count(this.#skips, reason);
  }

  /** A request was none that can be answered; by HTTP status. */
  refused(status: number): void {
    count(this.#refusals, status);
  }

  /** In the text format of Prometheus. */
  metrics(): string {
    return [
      "# TYPE proxy_inject_admission_responses_total counter",
      ...lines("proxy_inject_admission_responses_total", "outcome", this.#outcomes),
      "# TYPE proxy_inject_skips_total counter",
      ...lines("proxy_inject_skips_total", "skip_reason", this.#skips),
      "# TYPE proxy_inject_refused_requests_total counter",
      ...lines("proxy_inject_refused_requests_total", "status", this.#refusals),
      "",
    ].join("\n");
  }
}

function count<K>(in_: Map<K, number>, key: K): void {
  in_.set(key, (in_.get(key) ?? 0) + 1);
}

function lines<K>(name: string, label: string, of: ReadonlyMap<K, number>): string[] {
  return [...of].map(([key, n]) => `${name}{${label}="${key}"} ${n}`);
}
