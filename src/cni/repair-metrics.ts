// What the repair controller counts, by Linkerd's names: a fixed set of series, whatever pods it meets.

const PREFIX = "linkerd_cni_repair_controller_";
const BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const COUNTERS = {
  queue_overflow_total: "Pods that were not seen to, since too many waited",
  pods_deleted_total: "Pods that were deleted",
  pods_delete_errors_total: "Pods that could not be deleted",
  pods_delete_timeout_total: "Pods whose deletion was not answered in time",
  pods_left_total: "Pods that nothing would make again, and that were left",
  events_publish_errors_total: "Events that could not be written",
  events_publish_timeouts_total: "Events that were not answered in time",
} as const;
const HISTOGRAMS = {
  pods_delete_latency_seconds: "How long the deletion of a pod took",
  events_publish_latency_seconds: "How long the writing of an event took",
} as const;

export type RepairCounter = keyof typeof COUNTERS;
export type RepairHistogram = keyof typeof HISTOGRAMS;

/** Counters and their text. */
export class RepairMetrics {
  readonly #counters = new Map<RepairCounter, number>();
  readonly #histograms = new Map<RepairHistogram, { counts: number[]; sum: number; all: number }>();

  count(name: RepairCounter): void {
    this.#counters.set(name, (this.#counters.get(name) ?? 0) + 1);
  }

  value(name: RepairCounter): number {
    return this.#counters.get(name) ?? 0;
  }

  observe(name: RepairHistogram, seconds: number): void {
    let h = this.#histograms.get(name);
    if (h === undefined) {
      this.#histograms.set(name, h = { counts: BUCKETS_S.map(() => 0), sum: 0, all: 0 });
    }
    for (const [i, le] of BUCKETS_S.entries()) {
      if (seconds <= le) h.counts[i] = (h.counts[i] ?? 0) + 1;
    }
    h.sum += seconds;
    h.all++;
  }

  /** In the text format of Prometheus. */
  text(): string {
    const out: string[] = [];
    for (const [name, help] of Object.entries(COUNTERS)) {
      out.push(...head(name, help, "counter"));
      out.push(`${PREFIX}${name} ${this.value(name as RepairCounter)}`);
    }
    for (const [name, help] of Object.entries(HISTOGRAMS)) {
      const h = this.#histograms.get(name as RepairHistogram);
      out.push(...head(name, help, "histogram"));
      for (const [i, le] of BUCKETS_S.entries()) {
        out.push(`${PREFIX}${name}_bucket{le="${le}"} ${h?.counts[i] ?? 0}`);
      }
      out.push(`${PREFIX}${name}_bucket{le="+Inf"} ${h?.all ?? 0}`);
      out.push(`${PREFIX}${name}_sum ${h?.sum ?? 0}`, `${PREFIX}${name}_count ${h?.all ?? 0}`);
    }
    return out.join("\n") + "\n";
  }
}

function head(name: string, help: string, type: string): string[] {
  return [`# HELP ${PREFIX}${name} ${help}`, `# TYPE ${PREFIX}${name} ${type}`];
}
