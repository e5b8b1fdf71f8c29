// Filters that routes name, from reference to ready: fetched, prepared by the engine, retried for ever.
// Shared by every route that names the same filter with the same settings. Which chain a route runs
// meanwhile is decided in `route-chains.ts`.

import { Backoff, type Clock, delay } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import {
  type FilterEngine,
  type FilterRef,
  FilterRefused,
  type PreparedFilter,
} from "../../core/filter.ts";
import { latin1 } from "../../core/intern.ts";
import type { Logger } from "../../core/log.ts";
import type { SignatureCheck } from "../../core/signature.ts";
import type { ModuleSource } from "./modules.ts";
import { NO_STANDARD_MODULES, type StandardModules } from "./standard-filters.ts";

/** Different filters, or the same with different settings, that one proxy loads. */
export const MAX_FILTERS = 1000;
/** One fetch with its preparation. */
const ATTEMPT_TIMEOUT_MS = 10_000;
/** What nobody names any more is kept this long: a target that comes back finds it. */
const LINGER_MS = 60_000;
const MIN_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 60_000;
const MAX_ERROR_TEXT = 500;

/** A filter on its way: `loading`, then `ready`, or `failed` and still tried. */
export interface LoadedFilter {
  readonly key: string;
  readonly ref: FilterRef;
  readonly state: "loading" | "ready" | "failed";
  readonly prepared: PreparedFilter | null;
  /** Of the newest failure; empty after a success. */
  readonly lastError: string;
}

/** A use of a filter. `release` when the route no longer names it. */
export interface FilterUse {
  readonly filter: LoadedFilter;
  release(): void;
}

/** What an admin page shows of one filter. */
export interface FilterStatus {
  readonly name: string;
  /** The version that configuration names. */
  readonly wantedSha256: string;
  /** The version that runs; empty: none. */
  readonly servingSha256: string;
  readonly state: LoadedFilter["state"];
  readonly lastError: string;
  /** Routes of all targets that name it. */
  readonly routes: number;
}

interface Entry extends LoadedFilter {
  state: LoadedFilter["state"];
  prepared: PreparedFilter | null;
  lastError: string;
  uses: number;
  readonly listeners: Set<() => void>;
  readonly stopped: AbortController;
  cancelTimer: () => void;
}

export interface FilterStoreOptions {
  readonly engine: FilterEngine;
  readonly modules: ModuleSource;
  /** Modules that came with the proxy: neither fetched nor signed. */
  readonly standard?: StandardModules;
  /** Null: modules need no signature. */
  readonly signatures?: SignatureCheck | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** Loads filters. One per proxy. */
export class FilterStore {
  readonly engine: FilterEngine;
  readonly clock: Clock;
  readonly log: Logger;
  readonly standard: StandardModules;
  readonly #modules: ModuleSource;
  readonly #signatures: SignatureCheck | null;
  readonly #random: () => number;
  readonly #entries = new Map<string, Entry>();
  /** What each target wants and runs; for `status`. */
  readonly #reporters = new Set<() => readonly FilterStatus[]>();

  constructor(o: FilterStoreOptions) {
    this.engine = o.engine;
    this.clock = o.clock;
    this.log = o.log;
    this.standard = o.standard ?? NO_STANDARD_MODULES;
    this.#modules = o.modules;
    this.#signatures = o.signatures ?? null;
    this.#random = o.random;
  }

  /** Begins to load the filter, or joins; `changed` hears when it is ready or fails for the first time. */
  use(ref: FilterRef, changed: () => void): FilterUse {
    const entry = this.#entry(ref);
    entry.uses++;
    // A fresh function: two routes may hand in the same one.
    const listener = () => changed();
    entry.listeners.add(listener);
    let held = true;
    return {
      filter: entry,
      release: () => {
        if (!held) return;
        held = false;
        entry.listeners.delete(listener);
        if (--entry.uses === 0) this.#linger(entry);
      },
    };
  }

  /** Registers what a target wants and runs. The returned function ends it. */
  report(reporter: () => readonly FilterStatus[]): () => void {
    this.#reporters.add(reporter);
    return () => void this.#reporters.delete(reporter);
  }

  /** Each filter that some route names, once for each pair of wanted and running version. */
  status(): readonly FilterStatus[] {
    const rows = new Map<string, FilterStatus>();
    for (const reporter of this.#reporters) {
      for (const row of reporter()) {
        const key = `${row.name}|${row.wantedSha256}|${row.servingSha256}|${row.state}`;
        const seen = rows.get(key);
        rows.set(key, seen === undefined ? row : { ...row, routes: seen.routes + row.routes });
      }
    }
    return [...rows.values()].sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  }

  close(): void {
    for (const entry of [...this.#entries.values()]) this.#drop(entry);
  }

  #entry(ref: FilterRef): Entry {
    const key = keyOf(ref);
    const known = this.#entries.get(key);
    if (known !== undefined) {
      if (known.uses === 0) {
        known.cancelTimer();
        known.cancelTimer = () => {};
      }
      return known;
    }
    const entry: Entry = {
      key,
      ref,
      state: "loading",
      prepared: null,
      lastError: "",
      uses: 0,
      listeners: new Set(),
      stopped: new AbortController(),
      cancelTimer: () => {},
    };
    if (this.#entries.size >= MAX_FILTERS) {
      entry.state = "failed";
      entry.lastError = `More than ${MAX_FILTERS} filters are named: this one is not loaded`;
      this.log.error(entry.lastError, { filter: ref.name });
      return entry;
    }
    this.#entries.set(key, entry);
    void this.#load(entry);
    return entry;
  }

  async #load(entry: Entry): Promise<void> {
    const { ref, stopped } = entry;
    const backoff = new Backoff(MIN_BACKOFF_MS, MAX_BACKOFF_MS, 0.1, this.#random);
    for (;;) {
      try {
        const prepared = await this.#attempt(ref, stopped.signal);
        if (stopped.signal.aborted) return;
        entry.prepared = prepared;
        entry.state = "ready";
        entry.lastError = "";
        this.log.info("Loaded a filter", { filter: ref.name, sha256: ref.sha256 });
        this.#tell(entry);
        return;
      } catch (e) {
        if (stopped.signal.aborted) return;
        const first = entry.state === "loading";
        // A refused module stays refused until somebody replaces it: no reason to hurry.
        const waitMs = e instanceof FilterRefused ? MAX_BACKOFF_MS : backoff.next();
        const text = errorText(e).slice(0, MAX_ERROR_TEXT);
        if (text !== entry.lastError) {
          const fields = { filter: ref.name, sha256: ref.sha256, error: text };
          this.log.warn("Could not load a filter: the old version, if any, goes on", fields);
        }
        entry.state = "failed";
        entry.lastError = text;
        if (first) this.#tell(entry);
        try {
          await delay(this.clock, waitMs, stopped.signal);
        } catch {
          return; // dropped
        }
      }
    }
  }

  /** Preparation cannot be cancelled; its late result is ignored. */
  async #attempt(ref: FilterRef, stopped: AbortSignal): Promise<PreparedFilter> {
    const call = new AbortController();
    const stop = () => call.abort(new Error("no longer needed"));
    stopped.addEventListener("abort", stop, { once: true });
    const cancel = this.clock.after(ATTEMPT_TIMEOUT_MS, () => {
      call.abort(new Error(`Module ${ref.sha256} did not come within ${ATTEMPT_TIMEOUT_MS} ms`));
    });
    const aborted = new Promise<never>((_, reject) => {
      call.signal.addEventListener("abort", () => reject(call.signal.reason), { once: true });
    });
    try {
      const work = async () => {
        const module = this.#carried(ref) ?? await this.#fetch(ref, call.signal);
        return await this.engine.prepare(module, ref);
      };
      return await Promise.race([work(), aborted]);
    } finally {
      cancel();
      stopped.removeEventListener("abort", stop);
      aborted.catch(() => {});
    }
  }

  #carried({ sha256 }: FilterRef): Uint8Array | null {
    for (const carried of Object.values(this.standard)) {
      if (carried?.sha256 === sha256) return carried.bytes;
    }
    return null;
  }

  async #fetch(ref: FilterRef, signal: AbortSignal): Promise<Uint8Array> {
    // before a byte of it is fetched: what nobody trusted signed is never looked at
    await this.#signatures?.(ref.sha256, ref.signature);
    return await this.#modules(ref, signal);
  }

  #tell(entry: Entry): void {
    for (const listener of [...entry.listeners]) listener();
  }

  #linger(entry: Entry): void {
    if (this.#entries.get(entry.key) !== entry) return;
    entry.cancelTimer = this.clock.after(LINGER_MS, () => this.#drop(entry));
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.key);
    entry.cancelTimer();
    entry.stopped.abort();
  }
}

/** Equal for references that load to the same prepared filter. */
export function keyOf(ref: FilterRef): string {
  const { name, sha256, size, failurePolicy, fuelPerHook, memoryPages, config } = ref;
  const cpu = ref.cpuPercent ?? 0;
  const asks = JSON.stringify(ref.callouts ?? {});
  const settings = latin1(config, 0, config.length);
  // the same module, signed anew, may be taken where it was refused
  const signed = ref.signature === undefined ? "" : latin1(ref.signature, 0, ref.signature.length);
  return [name, sha256, signed, size, failurePolicy, fuelPerHook, memoryPages, cpu, asks, settings]
    .join("|");
}
