// A store of filters over a control plane and an engine that are not real.

import * as assert from "uvu/assert";
import type { FilterRef } from "../../../src/core/filter.ts";
import { SILENT } from "../../../src/core/log.ts";
import type { SignatureCheck } from "../../../src/core/signature.ts";
import type { Route } from "../../../src/model/route.ts";
import { FilterStore } from "../../../src/proxy/discovery/filters.ts";
import {
  createModuleSource,
  type ModuleCache,
  type ModuleSource,
} from "../../../src/proxy/discovery/modules.ts";
import {
  NO_STANDARD_MODULES,
  type StandardModules,
} from "../../../src/proxy/discovery/standard-filters.ts";
import { RouteChains } from "../../../src/proxy/discovery/route-chains.ts";
import { FakeClock, settle as settleOnce } from "../../support/fake-clock.ts";
import { FakeControl } from "./fake-control.ts";
import { FakeEngine, type NamedChain } from "./fake-engine.ts";

export function setUp(
  cache: ModuleCache | null = null,
  signatures: SignatureCheck | null = null,
  standard: StandardModules = NO_STANDARD_MODULES,
) {
  const control = new FakeControl();
  const clock = new FakeClock();
  const engine = new FakeEngine();
  engines = [engine];
  const source = createModuleSource({ transport: control.transport, cache, log: SILENT });
  const modules: ModuleSource = (ref, signal) => {
    fetching++;
    return source(ref, signal).finally(() => fetching--);
  };
  const log = SILENT;
  const store = new FilterStore({
    engine,
    modules,
    standard,
    signatures,
    clock,
    random: () => 0.5,
    log,
  });
  const all: RouteChains[] = [];
  /** A target: its routes, and how often they were replaced. */
  const target = () => {
    const seen = { changes: 0, chains: null as unknown as RouteChains };
    seen.chains = new RouteChains(store, () => seen.changes++);
    all.push(seen.chains);
    return seen;
  };
  const done = async () => {
    for (const chains of all) chains.close();
    store.close();
    await settle();
    assert.is(clock.pending, 0, "timers left");
  };
  const ref = async (name: string, text: string, more: Partial<FilterRef> = {}) => ({
    name,
    ...await control.publish(text),
    config: new Uint8Array(),
    failurePolicy: "closed",
    fuelPerHook: 0,
    memoryPages: 0,
    ...more,
  } as FilterRef);
  return { control, clock, engine, store, target, ref, done };
}

/** Fetches that run now: their digests are computed outside the event loop, where `settle` sees nothing. */
let fetching = 0;
let engines: FakeEngine[] = [];

/** As `settleOnce`, and until no digest is computed any more. */
export async function settle(): Promise<void> {
  do {
    await settleOnce();
  } while (fetching > 0 || engines.some((e) => e.busy > 0));
  await settleOnce();
  if (fetching > 0 || engines.some((e) => e.busy > 0)) await settle();
}

export async function advance(clock: FakeClock, ms: number): Promise<void> {
  await clock.advanceAsync(ms);
  await settle();
}

export const plan = (name: string, ...filters: FilterRef[]) => ({
  route: { name, retry: null, filters } as unknown as Route,
  filters,
});
export const parts = (chains: RouteChains) =>
  chains.routes?.map((r) => (r.chain as NamedChain).parts ?? []) ?? null;
export const UNKNOWN = { sha256: "ab".repeat(32), size: 100 };
