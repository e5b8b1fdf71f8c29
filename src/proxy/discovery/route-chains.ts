// The routes of one target with their filters instantiated. A new set of routes replaces the old one in
// one assignment, once every filter that it names is ready or has failed once; until then the old routes
// serve with the old filters. A filter that cannot be loaded goes on in its old version.

import type { FilterChain, UnloadedFilter } from "../../core/filter.ts";
import { errorText } from "../../core/errors.ts";
import type { FilterRef } from "../../core/filter.ts";
import { NO_FILTERS } from "../../core/filter.ts";
import type { Route } from "../../model/route.ts";
import type { RouteSnapshot } from "./discovery.ts";
import type { FilterStatus, FilterStore, FilterUse, LoadedFilter } from "./filters.ts";
import { type StandardFilter, standardFilters } from "./standard-filters.ts";

/** A route and all that runs for it, in order: the server's filters before the route's own. */
export interface RoutePlan {
  readonly route: Route;
  readonly filters: readonly FilterRef[];
}

/** The first set of a target waits this long for its filters; then their failure policies decide. */
const FIRST_WAIT_MS = 2000;

/** A filter of a route: what is wanted, and what runs in its place. */
interface Slot {
  readonly wanted: FilterUse;
  /** The wanted one, an older one of the same name, or null: none could ever be loaded. */
  readonly serving: LoadedFilter | null;
}

interface Placed {
  readonly plan: RoutePlan;
  readonly slots: readonly Slot[];
}

/** A plan, and uses of its filters: those that it names, then the proxy's own that it may need. */
interface Wanted {
  readonly plan: RoutePlan;
  readonly uses: readonly FilterUse[];
  readonly standard: readonly (StandardFilter & { readonly use: FilterUse })[];
}

/** One target's routes. */
export class RouteChains {
  /** Null until the first set is ready. Identical routes with identical filters keep their chain. */
  routes: readonly RouteSnapshot[] | null = null;
  readonly #store: FilterStore;
  readonly #changed: () => void;
  readonly #endReport: () => void;
  #wanted: readonly Wanted[] = [];
  #placed: readonly Placed[] = [];
  /** Uses that keep older versions alive while they serve. */
  #held = new Map<LoadedFilter, FilterUse>();
  #chains = new Map<string, FilterChain>();
  #waiting: (() => void) | null = null;
  #patient = true;

  /** `changed` is called after each replacement of `routes`. */
  constructor(store: FilterStore, changed: () => void) {
    this.#store = store;
    this.#changed = changed;
    this.#endReport = store.report(() => this.#status());
  }

  /** Takes a new set. `changed` may be called before this returns. */
  set(plans: readonly RoutePlan[]): void {
    const before = this.#wanted;
    const use = (ref: FilterRef) => this.#store.use(ref, () => this.#place());
    this.#wanted = plans.map((plan) => ({
      plan,
      uses: plan.filters.map(use),
      standard: standardFilters(plan.route, this.#store.standard)
        .map((s) => ({ ...s, use: use(s.ref) })),
    }));
    release(before);
    if (this.routes === null && this.#waiting === null) {
      this.#waiting = this.#store.clock.after(FIRST_WAIT_MS, () => {
        this.#waiting = null;
        this.#patient = false;
        this.#place();
      });
    }
    this.#place();
  }

  close(): void {
    this.#waiting?.();
    this.#waiting = null;
    this.#endReport();
    release(this.#wanted);
    for (const use of this.#held.values()) use.release();
    this.#wanted = [];
    this.#placed = [];
    this.#held.clear();
  }

  /** Replaces `routes`, unless a filter is still loading for the first time. */
  #place(): void {
    const loading = this.#wanted.some((w) => usesOf(w).some((u) => u.filter.state === "loading"));
    if (loading && (this.routes !== null || this.#patient)) return;
    const placed = this.#wanted.map(({ plan, uses, standard }): Placed => {
      const named = uses.map((wanted) => ({
        wanted,
        serving: this.#servingFor(plan.route, wanted, true),
      }));
      const ours = standard
        .filter(({ unlessHook: hook }) => hook === null || !named.some((n) => hasHook(n, hook)))
        .map((s) => ({
          first: s.first,
          slot: { wanted: s.use, serving: this.#servingFor(plan.route, s.use, false) },
        }));
      const at = (first: boolean) => ours.filter((o) => o.first === first).map((o) => o.slot);
      return { plan, slots: [...at(true), ...named, ...at(false)] };
    });
    const chains = new Map<string, FilterChain>();
    let routes: RouteSnapshot[];
    try {
      routes = placed.map(({ plan, slots }) => ({
        route: plan.route,
        chain: this.#chain(slots, chains),
      }));
    } catch (e) {
      this.#store.log.error("Could not instantiate filters: the old chain goes on", {
        error: errorText(e),
      });
      return;
    }
    this.#hold(placed);
    this.#placed = placed;
    this.#chains = chains;
    this.#waiting?.();
    this.#waiting = null;
    this.routes = routes;
    this.#changed();
  }

  /** `anywhere`: on another route a filter of the same name has the same say. */
  #servingFor(route: Route, wanted: FilterUse, anywhere: boolean): LoadedFilter | null {
    if (wanted.filter.prepared !== null) return wanted.filter;
    const { name } = wanted.filter.ref;
    const here = this.#running(name, (p) => p.plan.route.name === route.name);
    // The route is new or has another name; the filter may run on a sister route.
    return here ?? (anywhere ? this.#running(name, () => true) : null);
  }

  #running(filterName: string, on: (placed: Placed) => boolean): LoadedFilter | null {
    for (const placed of this.#placed) {
      if (!on(placed)) continue;
      for (const { serving } of placed.slots) {
        if (serving?.ref.name === filterName) return serving;
      }
    }
    return null;
  }

  /** Chains are found again by what they consist of, so that an unchanged one is the identical object. */
  #chain(slots: readonly Slot[], chains: Map<string, FilterChain>): FilterChain {
    if (slots.length === 0) return NO_FILTERS;
    const key = slots.map((s) => s.serving?.key ?? `!${s.wanted.filter.key}`).join("\n");
    let chain = chains.get(key) ?? this.#chains.get(key);
    if (chain === undefined) {
      chain = this.#store.engine.chain(slots.map((s) => s.serving?.prepared ?? unloaded(s)));
    }
    chains.set(key, chain);
    return chain;
  }

  /** Takes a use of every version that serves in place of another one, and lets the rest go. */
  #hold(placed: readonly Placed[]): void {
    const held = new Map<LoadedFilter, FilterUse>();
    for (const { serving } of placed.flatMap((p) => p.slots)) {
      if (serving === null || held.has(serving)) continue;
      held.set(serving, this.#held.get(serving) ?? this.#store.use(serving.ref, () => {}));
    }
    for (const [filter, use] of this.#held) if (!held.has(filter)) use.release();
    this.#held = held;
  }

  /** The proxy's own filters that did not give way. */
  #placedOf(plan: RoutePlan, standard: Wanted["standard"]): readonly FilterUse[] {
    const slots = this.#placed.find((p) => p.plan === plan)?.slots ?? [];
    return standard.map((s) => s.use).filter((use) => slots.some((s) => s.wanted === use));
  }

  #status(): readonly FilterStatus[] {
    return this.#wanted.flatMap(({ plan, uses, standard }) =>
      [...uses, ...this.#placedOf(plan, standard)].map((
        { filter: { ref, state, lastError } },
      ): FilterStatus => ({
        name: ref.name,
        wantedSha256: ref.sha256,
        servingSha256: this.#running(ref.name, (p) => p.plan.route.name === plan.route.name)
          ?.ref.sha256 ?? "",
        state,
        lastError,
        routes: 1,
      }))
    );
  }
}

function usesOf({ uses, standard }: Wanted): readonly FilterUse[] {
  return standard.length === 0 ? uses : [...uses, ...standard.map((s) => s.use)];
}

function release(wanted: readonly Wanted[]): void {
  for (const one of wanted) usesOf(one).forEach((u) => u.release());
}

function hasHook({ serving }: Slot, hook: string): boolean {
  return serving?.prepared?.info.hooks.includes(hook) ?? false;
}

function unloaded(slot: Slot): UnloadedFilter {
  const { ref, lastError } = slot.wanted.filter;
  return { ref, info: null, why: lastError === "" ? "it is not loaded yet" : lastError };
}
