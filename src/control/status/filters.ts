// The status of WasmFilters: what became of their modules.

import type { FilterState } from "../admin/state.ts";
import type { Condition, StatusEntry } from "./entry.ts";

const MAX_MESSAGE = 1024;

/** One entry for each filter. */
export function filterStatus(states: readonly FilterState[]): StatusEntry[] {
  return states.map((state) => ({
    kind: "tulle.dev/WasmFilter",
    namespace: state.namespace,
    name: state.name,
    status: { conditions: [conditionOf(state)] },
  }));
}

function conditionOf({ state, reason, served }: FilterState): Condition {
  const message = reason.slice(0, MAX_MESSAGE);
  switch (state) {
    case "serving":
      return {
        type: "Accepted",
        status: "True",
        reason: "Accepted",
        message: message === "" ? `proxies run ${served?.sha256 ?? "it"}` : message,
      };
    case "pending":
      return { type: "Accepted", status: "Unknown", reason: "Pending", message };
    case "refused":
      return { type: "Accepted", status: "False", reason: "Refused", message };
  }
}
