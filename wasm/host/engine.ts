// The filter engine of one thread: prepares modules, keeps one instance for each filter and
// configuration that some route uses, and reports on them. What no route holds any more is released
// with its chain; what it counted stays.

import type { Clock } from "../../src/core/clock.ts";
import { errorText } from "../../src/core/errors.ts";
import {
  type FilterChain,
  type FilterEngine,
  type FilterPorter,
  type FilterRef,
  FilterRefused,
  type FilterStats,
  NO_FILTERS,
  type PreparedFilter,
  type ShippedFilter,
  type UnloadedFilter,
} from "../../src/core/filter.ts";
import { type Logger, SILENT } from "../../src/core/log.ts";
import type { Manifest } from "../abi.ts";
import { Chain, unloaded } from "./chain.ts";
import { tryCanary } from "./canary.ts";
import { CELLS_BYTES, HostCells } from "./cells.ts";
import { readConfig } from "./config.ts";
import { createCounts, nsPerCall, type UnitCounts } from "./counts.ts";
import { sha256Hex } from "./digest.ts";
import type { World } from "./situation.ts";
import { type LoadedModule, loadModule } from "./load.ts";
import { MetricStore } from "./metrics.ts";
import { type Locate, placesOf } from "./trap.ts";
import { describe, FilterPlan } from "./plan.ts";
import {
  type Bounds,
  DEFAULT_FUEL_PER_HOOK,
  DEFAULT_FUEL_TO_START,
  DEFAULT_MEMORY_PAGES,
} from "./rewrite.ts";
import { receivePlan, shipPlan } from "./ship.ts";
import { FilterUnit, type FoldHolder } from "./unit.ts";

/** What the engine needs from the process. */
export interface EngineOptions {
  readonly clock: Clock;
  readonly log?: Logger;
  /** What a pair of looks at the clock takes (`clockCost`); 0 unless given. */
  readonly clockNs?: number;
  /** At least 0, less than 1. */
  readonly random?: () => number;
  /** State that is one per proxy; the engine's own unless given, which is right for one thread. */
  readonly cells?: HostCells;
  /** The data plane's timers, for ticks: calls once after `ms`. The clock's unless given. */
  readonly after?: Clock["after"];
  /** Says `file:line:column` of a place in a module, where somebody has its source map. */
  readonly locate?: Locate;
  /** Told of each filter that begins to run; for reports of its fuel. */
  readonly onUnit?: (unit: FilterUnit) => void;
}

const MAX_FUEL_PER_HOOK = 1_000_000_000;
const MAX_MEMORY_PAGES = 1024;
/** Compiled modules kept for another configuration of the same. */
const MAX_MODULES = 32;
/** Filters whose counts are kept. */
const MAX_STATS = 256;
const LOG_LINES_PER_SECOND = 10;

/** Makes an engine. One for each data-plane thread. */
export function createEngine(options: EngineOptions): FilterEngine & FilterPorter {
  return new Engine(options);
}

class Engine implements FilterEngine, FilterPorter {
  readonly #world: World;
  readonly #locate: Locate | null;
  readonly #onUnit: (unit: FilterUnit) => void;
  readonly #after: Clock["after"];
  readonly #store = new MetricStore();
  readonly #modules = new Map<string, LoadedModule>();
  readonly #units = new Map<string, WeakRef<FilterUnit>>();
  readonly #counts = new Map<string, { name: string; sha256: string; counts: UnitCounts }>();
  readonly #released = new FinalizationRegistry<{ key: string; holder: FoldHolder }>(
    ({ key, holder }) => {
      holder.fold?.fold();
      if (this.#units.get(key)?.deref() === undefined) this.#units.delete(key);
    },
  );

  constructor(options: EngineOptions) {
    const { clock, log = SILENT, random = Math.random, locate, onUnit, after } = options;
    this.#after = after ?? ((ms, fire) => clock.after(ms, fire));
    this.#locate = locate ?? null;
    this.#onUnit = onUnit ?? (() => {});
    let second = -1;
    let lines = 0;
    this.#world = {
      now: () => clock.now(),
      clockNs: options.clockNs ?? 0,
      wall: () => clock.wall(),
      random,
      log,
      cells: options.cells ?? new HostCells(new SharedArrayBuffer(CELLS_BYTES), clock, random()),
      mayLog: () => {
        const now = Math.floor(clock.now() / 1000);
        if (now !== second) {
          second = now;
          lines = 0;
        }
        return ++lines <= LOG_LINES_PER_SECOND;
      },
    };
  }

  async prepare(bytes: Uint8Array, ref: FilterRef): Promise<PreparedFilter> {
    try {
      return await this.#prepare(bytes, ref);
    } catch (e) {
      const where = `filter "${ref.name}" (${ref.sha256.slice(0, 12)})`;
      if (e instanceof FilterRefused) {
        throw new FilterRefused(`${where}: ${e.message}`, { cause: e });
      }
      throw new FilterRefused(`${where}: ${errorText(e)}`, { cause: e });
    }
  }

  async #prepare(bytes: Uint8Array, ref: FilterRef): Promise<PreparedFilter> {
    const bounds = boundsOf(ref);
    if (bytes.length !== ref.size) {
      throw new FilterRefused(`has ${bytes.length} bytes, the reference says ${ref.size}`);
    }
    const digest = await sha256Hex(bytes);
    if (digest !== ref.sha256) {
      throw new FilterRefused(`its digest is ${digest}, the reference says ${ref.sha256}`);
    }
    const key = `${digest} ${bounds.fuelPerHook} ${bounds.memoryPages}`;
    let loaded = this.#modules.get(key);
    if (loaded === undefined) {
      loaded = await loadModule(bytes, bounds);
      const [oldest] = this.#modules.keys();
      if (this.#modules.size >= MAX_MODULES && oldest !== undefined) this.#modules.delete(oldest);
      this.#modules.set(key, loaded);
    }
    const { manifest, parsed, module } = loaded;
    checkCallouts(ref, manifest);
    const config = readConfig(ref.config, manifest);
    const info = describe(manifest, parsed.exports, digest, bytes.length, config.headers);
    const plan = new FilterPlan(
      ref,
      info,
      module,
      manifest,
      config,
      bounds.fuelPerHook,
      placesOf(digest, loaded.moved, this.#locate, parsed.lines),
    );
    tryCanary(plan, this.#world);
    return plan;
  }

  ship(filter: PreparedFilter): ShippedFilter {
    if (!(filter instanceof FilterPlan)) throw new Error("prepared by another engine");
    return shipPlan(filter);
  }

  receive(shipped: ShippedFilter): PreparedFilter {
    const plan = receivePlan(shipped, this.#locate);
    if (this.#unit(plan).isRunning) return plan;
    const why = this.#countsOf(plan).lastError;
    throw new FilterRefused(`filter "${plan.ref.name}" (${plan.ref.sha256.slice(0, 12)}): ${why}`);
  }

  chain(filters: readonly (PreparedFilter | UnloadedFilter)[]): FilterChain {
    const members = [];
    let keepsRequest = false;
    for (const filter of filters) {
      if (filter instanceof FilterPlan) {
        members.push(this.#unit(filter));
        keepsRequest ||= filter.keepsRequest;
      } else if (filter.ref.failurePolicy === "closed") {
        const why = "why" in filter ? filter.why : "it was prepared by another engine";
        members.push(unloaded({ ref: filter.ref, info: null, why }));
      }
    }
    return members.length === 0 ? NO_FILTERS : new Chain(members, keepsRequest);
  }

  #unit(plan: FilterPlan): FilterUnit {
    const known = this.#units.get(plan.key)?.deref();
    if (known !== undefined) return known;
    const unit = new FilterUnit(plan, this.#world, this.#store, this.#countsOf(plan));
    this.#onUnit(unit);
    this.#units.set(plan.key, new WeakRef(unit));
    this.#released.register(unit, { key: plan.key, holder: unit.holder });
    const { tickMs } = plan.manifest;
    if (tickMs !== undefined) this.#tick(new WeakRef(unit), tickMs);
    return unit;
  }

  /** Ticks for as long as some chain holds the unit. */
  #tick(unit: WeakRef<FilterUnit>, ms: number): void {
    this.#after(ms, () => {
      const held = unit.deref();
      if (held === undefined) return;
      held.tick();
      this.#tick(unit, ms);
    });
  }

  #countsOf({ ref: { name, sha256 } }: FilterPlan): UnitCounts {
    const key = `${sha256} ${name}`;
    const known = this.#counts.get(key);
    if (known !== undefined) return known.counts;
    const [oldest] = this.#counts.keys();
    if (this.#counts.size >= MAX_STATS && oldest !== undefined) this.#counts.delete(oldest);
    const counts = createCounts();
    this.#counts.set(key, { name, sha256, counts });
    return counts;
  }

  stats(): readonly FilterStats[] {
    return [...this.#counts.values()].map(({ name, sha256, counts }) => ({
      name,
      sha256,
      calls: counts.calls,
      nsPerCall: nsPerCall(counts),
      traps: counts.traps,
      fuelExhausted: counts.fuelExhausted,
      overBudget: counts.overBudget,
      lastError: counts.lastError,
    }));
  }

  series() {
    for (const unit of this.#units.values()) unit.deref()?.holder.fold?.fold();
    return this.#store.series();
  }
}

/** What the manifest names and what the configuration allows must be the same. */
function checkCallouts({ callouts = {} }: FilterRef, manifest: Manifest): void {
  const named = manifest.callouts ?? [];
  for (const name of named) {
    const authority = Object.hasOwn(callouts, name) ? callouts[name] ?? "" : "";
    if (/^([A-Za-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5}$/.test(authority)) continue;
    throw new FilterRefused(
      `callouts: it asks "${name}", for which the configuration must name a service as host:port`,
    );
  }
  for (const name of Object.keys(callouts)) {
    if (named.includes(name)) continue;
    throw new FilterRefused(
      `callouts: "${name}" is nothing that it asks; there are: ${named.join(", ") || "none"}`,
    );
  }
}

function boundsOf({ fuelPerHook, memoryPages, cpuPercent = 0 }: FilterRef): Bounds {
  const check = (what: string, value: number, max: number) => {
    if (Number.isInteger(value) && value >= 0 && value <= max) return;
    throw new FilterRefused(`${what} must be a whole number from 0 to ${max}, not ${value}`);
  };
  check("fuelPerHook", fuelPerHook, MAX_FUEL_PER_HOOK);
  check("memoryPages", memoryPages, MAX_MEMORY_PAGES);
  check("cpuPercent", cpuPercent, 100);
  return {
    fuelPerHook: fuelPerHook === 0 ? DEFAULT_FUEL_PER_HOOK : fuelPerHook,
    fuelToStart: DEFAULT_FUEL_TO_START,
    memoryPages: memoryPages === 0 ? DEFAULT_MEMORY_PAGES : memoryPages,
  };
}
