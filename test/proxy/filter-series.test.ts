import { test } from "uvu";
import * as assert from "uvu/assert";
import { Sheet } from "../../src/core/sheet.ts";
import { exposition } from "../../src/proxy/exposition.ts";
import { hostSeries } from "../../src/proxy/filter-series.ts";

test("what the proxy knows of a filter is on its metrics page", () => {
  const stats = {
    name: "retry",
    sha256: "ab".repeat(32),
    calls: 12,
    nsPerCall: 0,
    traps: 5,
    fuelExhausted: 2,
    overBudget: 7,
    lastError: "",
  };
  const status = {
    name: "retry",
    wantedSha256: "cd".repeat(32),
    servingSha256: "ab".repeat(32),
    state: "failed" as const,
    lastError: "refused",
    routes: 3,
  };
  const text = exposition(new Sheet(), hostSeries([stats], [status]));
  for (
    const line of [
      'filter_host_calls_total{filter="retry",sha256="abababababab"} 12',
      'filter_host_traps_total{filter="retry",sha256="abababababab",reason="fuel"} 2',
      'filter_host_traps_total{filter="retry",sha256="abababababab",reason="trap"} 3',
      'filter_host_over_budget_total{filter="retry",sha256="abababababab"} 7',
      'filter_host_state{filter="retry",state="failed",wanted="cdcdcdcdcdcd",serving="abababababab"} 3',
    ]
  ) {
    assert.ok(text.split("\n").includes(line), `${line}\n${text}`);
  }
});

test.run();
