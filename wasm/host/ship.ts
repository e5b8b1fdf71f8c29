// A prepared filter on its way to another thread: what structured clone can carry, and the plan that is
// made of it there. Header names are interned per thread, so that the configuration is read anew.

import type { ShippedFilter } from "../../src/core/filter.ts";
import type { Manifest } from "../abi.ts";
import { readConfig } from "./config.ts";
import { FilterPlan } from "./plan.ts";
import { OffsetMap } from "./source-map.ts";
import { type Locate, NOWHERE, placesOf, type PlainPlaces } from "./trap.ts";

interface Rest {
  readonly manifest: Manifest;
  readonly fuelPerHook: number;
  readonly places: PlainPlaces | null;
}

/** For `FilterPorter.ship`. */
export function shipPlan(plan: FilterPlan): ShippedFilter {
  const { ref, info, module, manifest, fuelPerHook } = plan;
  const rest: Rest = { manifest, fuelPerHook, places: plan.places.plain() };
  return { ref, info, module, rest };
}

/** For `FilterPorter.receive`. The configuration was accepted when the filter was prepared. */
export function receivePlan(
  shipped: ShippedFilter,
  locate: Locate | null,
): FilterPlan {
  const { ref, info, module } = shipped;
  const { manifest, fuelPerHook, places } = shipped.rest as Rest;
  return new FilterPlan(
    ref,
    info,
    module,
    manifest,
    readConfig(ref.config, manifest),
    fuelPerHook,
    places === null
      ? NOWHERE
      : placesOf(ref.sha256, OffsetMap.of(places.moved), locate, places.lines),
  );
}
