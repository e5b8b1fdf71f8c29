// The filter engine of a proxy with workers, on the main thread: a module is refused, compiled and tried
// here, instantiated by every worker, and ready only when each of them said so. Chains here only name
// what they consist of; requests never meet them.

import {
  type FilterChain,
  type FilterEngine,
  type FilterPorter,
  type FilterRef,
  type FilterSeries,
  type FilterStats,
  type ModuleInfo,
  NO_FILTERS,
  type PreparedFilter,
  type ShippedFilter,
  type UnloadedFilter,
} from "../../core/filter.ts";
import type { ChainMember, WorkerReport } from "./protocol.ts";

/** A worker, as far as filters go. */
export interface FilterTaker {
  /**
   * Resolves once the worker instantiated it, or is gone. Rejects with `FilterRefused` when it cannot,
   * and with another error when it does not answer.
   */
  take(id: number, filter: ShippedFilter): Promise<void>;
  forget(id: number): void;
}

/** One per proxy with workers. */
export class FleetEngine implements FilterEngine {
  readonly #inner: FilterEngine & FilterPorter;
  readonly #takers: () => Iterable<FilterTaker>;
  readonly #shipped = new Map<number, ShippedFilter>();
  readonly #dropped: FinalizationRegistry<number>;
  #next = 1;
  /** The newest sum of what workers told; for `stats` and `series`. */
  newest: Pick<WorkerReport, "filterStats" | "filterSeries"> = {
    filterStats: [],
    filterSeries: [],
  };

  /** `takers` are the workers that run now. */
  constructor(inner: FilterEngine & FilterPorter, takers: () => Iterable<FilterTaker>) {
    this.#inner = inner;
    this.#takers = takers;
    this.#dropped = new FinalizationRegistry((id) => this.#forget(id));
  }

  async prepare(module: Uint8Array, ref: FilterRef): Promise<PreparedFilter> {
    const prepared = await this.#inner.prepare(module, ref);
    const shipped = this.#inner.ship(prepared);
    const id = this.#next++;
    this.#shipped.set(id, shipped);
    const takes = Array.from(this.#takers(), (taker) => taker.take(id, shipped));
    try {
      await Promise.all(takes);
    } catch (e) {
      await Promise.allSettled(takes);
      this.#forget(id);
      throw e;
    }
    const remote = new RemoteFilter(id, ref, prepared.info);
    this.#dropped.register(remote, id);
    return remote;
  }

  chain(filters: readonly (PreparedFilter | UnloadedFilter)[]): FilterChain {
    const members = filters.map((filter): RemoteFilter | UnloadedFilter => {
      if (filter instanceof RemoteFilter) return filter;
      const why = "why" in filter ? filter.why : "it was prepared by another engine";
      return { ref: filter.ref, info: null, why };
    });
    return members.length === 0 ? NO_FILTERS : new RemoteChain(members);
  }

  /** What a worker is told of a chain. */
  membersOf(chain: FilterChain): readonly ChainMember[] {
    if (!(chain instanceof RemoteChain)) return [];
    return chain.members.map((m) => m instanceof RemoteFilter ? m.id : { ref: m.ref, why: m.why });
  }

  /** Every filter that some chain may still name, for a worker that begins. */
  all(): Iterable<readonly [id: number, filter: ShippedFilter]> {
    return this.#shipped;
  }

  stats(): readonly FilterStats[] {
    return this.newest.filterStats;
  }

  series(): readonly FilterSeries[] {
    return this.newest.filterSeries;
  }

  #forget(id: number): void {
    if (!this.#shipped.delete(id)) return;
    for (const taker of this.#takers()) taker.forget(id);
  }
}

/** A filter that workers have under a number. Collected with the last chain that holds it. */
class RemoteFilter implements PreparedFilter {
  readonly id: number;
  readonly ref: FilterRef;
  readonly info: ModuleInfo;

  constructor(id: number, ref: FilterRef, info: ModuleInfo) {
    this.id = id;
    this.ref = ref;
    this.info = info;
  }
}

/** The parts of a chain that runs elsewhere. As a chain of this thread it does nothing. */
class RemoteChain implements FilterChain {
  readonly members: readonly (RemoteFilter | UnloadedFilter)[];
  readonly hooks = NO_FILTERS.hooks;
  readonly requestHead = NO_FILTERS.requestHead;
  readonly requestAnswered = NO_FILTERS.requestAnswered;
  readonly attemptStart = NO_FILTERS.attemptStart;
  readonly attemptOutcome = NO_FILTERS.attemptOutcome;
  readonly responseHead = NO_FILTERS.responseHead;
  readonly responseTrailers = NO_FILTERS.responseTrailers;
  readonly end = NO_FILTERS.end;
  readonly requestBody = NO_FILTERS.requestBody;
  readonly responseBody = NO_FILTERS.responseBody;
  readonly requestPiece = NO_FILTERS.requestPiece;
  readonly responsePiece = NO_FILTERS.responsePiece;
  readonly connectionOpen = NO_FILTERS.connectionOpen;
  readonly connectionEnd = NO_FILTERS.connectionEnd;

  constructor(members: readonly (RemoteFilter | UnloadedFilter)[]) {
    this.members = members;
  }
}
