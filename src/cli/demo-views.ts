// From the running mesh to what the table shows: looks once a second and keeps the last ten looks
// for rates and percentiles.

import {
  countServices,
  FilterLedger,
  type MeshSnapshot,
  type ServiceCounts,
  since,
} from "./demo-figures.ts";
import type { DemoMesh } from "./demo-mesh.ts";
import type { SwapOutcome } from "./demo-report.ts";
import type { TableView } from "./demo-table.ts";

/** The builds that run now; the ledger remembers those before them for the report. */
function current(snapshot: MeshSnapshot) {
  const ledger = new FilterLedger();
  ledger.add(snapshot);
  return ledger.totals();
}

interface Look {
  readonly atMs: number;
  readonly services: ReadonlyMap<string, ServiceCounts>;
}

const LOOKS = 10;

/** One a run. */
export class DemoViews {
  readonly #mesh: DemoMesh;
  readonly #swaps: readonly SwapOutcome[];
  readonly #ledger: FilterLedger;
  readonly #looks: Look[];

  constructor(
    mesh: DemoMesh,
    swaps: readonly SwapOutcome[],
    ledger: FilterLedger,
    baseline: MeshSnapshot,
  ) {
    this.#mesh = mesh;
    this.#swaps = swaps;
    this.#ledger = ledger;
    this.#looks = [{ atMs: 0, services: countServices(baseline, mesh.pods) }];
  }

  /** Looks at every proxy. */
  async next(elapsedMs: number): Promise<TableView> {
    const snapshot = await this.#mesh.snapshot();
    this.#ledger.add(snapshot);
    const now: Look = { atMs: elapsedMs, services: countServices(snapshot, this.#mesh.pods) };
    this.#looks.push(now);
    if (this.#looks.length > LOOKS) this.#looks.shift();
    const first = this.#looks[0] ?? now;
    return {
      elapsedMs,
      dashboard: `${this.#mesh.adminUrl}/`,
      services: new Map(
        [...now.services].map(([name, of]) => [name, since(of, first.services.get(name))]),
      ),
      windowMs: now.atMs - first.atMs,
      endpoints: this.#endpoints(snapshot),
      filters: current(snapshot),
      load: this.#mesh.load,
      tally: this.#mesh.tally,
      swaps: {
        done: this.#swaps.filter((swap) => swap.done).length,
        crossed: this.#swaps.reduce((n, swap) => n + swap.crossed, 0),
        failed: this.#swaps.reduce((n, swap) => n + swap.failed, 0),
      },
    };
  }

  /** The balancer's view of the service that has several endpoints, on the proxy that calls it. */
  #endpoints(snapshot: MeshSnapshot) {
    const podOf = new Map(this.#mesh.pods.map((pod) => [pod.ip, pod.name]));
    return (snapshot.get("web")?.stats.endpoints ?? [])
      .filter((e) => e.authority.startsWith("catalogue."))
      .map((e) => ({ ...e, pod: podOf.get(e.addr.replace(/:\d+$/, "")) ?? e.addr }))
      .sort((a, b) => a.addr < b.addr ? -1 : 1);
  }
}
