// What a filter costs: the fuel of each hook for one made-up request, in which every header that the
// filter reads has a value. For `build` and `inspect`; says nothing of other requests.

import { errorText } from "../core/errors.ts";
import type { SourceMap } from "../../wasm/host/source-map.ts";
import { TestFilter } from "../../wasm/sdk/testing-filter.ts";

const BODY = '{"item": 42, "count": 3}';
/** A filter that ticks more rarely shows no cost of it. */
const TICKS_MS = 1_000;

/** One hook's cost. */
export interface HookCost {
  readonly hook: string;
  readonly fuel: number;
  readonly budget: number;
}

/** Costs by hook, or why they are not known. */
export type FilterCost =
  | { readonly hooks: readonly HookCost[] }
  | { readonly unknown: string };

/** Runs one request through a module, with the configuration `config`. Never rejects. */
export async function costOf(
  module: Uint8Array,
  config: object | undefined,
  map: SourceMap | null,
): Promise<FilterCost> {
  try {
    const options = config === undefined ? {} : { config };
    const filter = await TestFilter.open(module, options, map);
    const headers = Object.fromEntries(filter.info.headersRead.map((name) => [name, "value"]));
    const { verdict } = filter.request({ method: "POST", path: "/items/42?page=1", headers });
    if (verdict === "continue") {
      filter.requestBody(BODY);
      filter.attempt();
      filter.outcome({ status: 503, elapsedMs: 12 });
      filter.response({ status: 200, headers });
      filter.responseBody(BODY);
      filter.trailers({ "x-checksum": "abc" });
    }
    filter.end({ status: 200, elapsedMs: 12 });
    if (filter.connection().allowed) filter.connectionEnd({ bytesIn: 100, bytesOut: 1000 });
    filter.advance(TICKS_MS);
    return {
      hooks: filter.fuelReport().map(({ hook, last, budget }) => ({ hook, fuel: last, budget })),
    };
  } catch (e) {
    return { unknown: errorText(e) };
  }
}

/** The costs in one line. */
export function costText(cost: FilterCost): string {
  if ("unknown" in cost) return `cost unknown: ${cost.unknown}`;
  if (cost.hooks.length === 0) return "no hook of a request";
  // a function without loops and calls is not charged for on its own
  const shown = cost.hooks.map(({ hook, fuel }) => `${hook} ${fuel === 0 ? "below 256" : fuel}`);
  return `${shown.join(", ")} instructions`;
}
