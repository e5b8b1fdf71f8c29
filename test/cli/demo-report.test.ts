import { test } from "uvu";
import * as assert from "uvu/assert";
import type { ServiceCounts } from "../../src/cli/demo-figures.ts";
import { broken, type DemoFacts, report } from "../../src/cli/demo-report.ts";

const counts = (more: Partial<ServiceCounts> = {}): ServiceCounts => ({
  requests: 1_000,
  failures: 1,
  attempts: 1_050,
  failedAttempts: 51,
  latency: new Map([[10, 500], [20, 1_000], [Infinity, 1_000]]),
  arrived: 1_050,
  arrivedMtls: 1_050,
  ...more,
});
const proxy = (mtlsConnections: number, plaintextConnections: number) => ({
  samples: [],
  stats: {
    proxy: { rssMiB: 61.26, mtlsConnections, plaintextConnections },
    endpoints: [],
    filters: [],
  },
});
const swap = { filter: "header-modifier", done: true, crossed: 12, failed: 0 };
const good: DemoFacts = {
  services: new Map([["web", counts()], ["vote", counts({ failures: 0 })]]),
  mesh: new Map([["web", proxy(4, 0)]]),
  filters: [{
    name: "retry",
    sha256: "ab".repeat(32),
    calls: 7,
    nsPerCall: 800,
    traps: 0,
    state: "active",
    lastError: "",
  }],
  swaps: [swap, swap],
  startupMs: 3_456.7,
  load: { requests: 1_000, failed: 1 },
  died: [],
  isStopped: false,
};

test("report() has exactly the shape that is promised", () => {
  assert.equal(report(good), {
    services: [
      {
        name: "web",
        requests: 1_000,
        successRate: 0.999,
        actualSuccessRate: 0.951429,
        p50Ms: 10,
        p95Ms: 19,
        p99Ms: 19.8,
      },
      {
        name: "vote",
        requests: 1_000,
        successRate: 1,
        actualSuccessRate: 0.951429,
        p50Ms: 10,
        p95Ms: 19,
        p99Ms: 19.8,
      },
    ],
    proxies: [{ name: "web", mtlsConnections: 4, plaintextConnections: 0, rssMiB: 61.3 }],
    filters: [{ name: "retry", sha256: "ab".repeat(32), calls: 7, nsPerCall: 800, traps: 0 }],
    swaps: 2,
    requestsAcrossSwaps: 24,
    failedDuringSwap: 0,
    startupMs: 3457,
  });
});

test("a mesh that kept its promises breaks none, with 99.9 % exactly", () => {
  assert.equal(broken(good), []);
});

for (
  const [what, facts, line] of [
    [
      "one failure more than 0.1 %",
      { load: { requests: 1_000, failed: 2 } },
      "the load saw 2 of 1000 requests fail",
    ],
    [
      "a service that fails",
      { services: new Map([["web", counts({ failures: 2 })]]) },
      "web: 2 of 1000 requests failed after retries",
    ],
    ["no traffic", { load: { requests: 0, failed: 0 } }, "the load sent no request"],
    ["a service without traffic", {
      services: new Map([["web", counts({ requests: 0, failures: 0 })]]),
    }, "web: no request was counted"],
    ["a request without mutual TLS", {
      services: new Map([["web", counts({ arrivedMtls: 1_049 })]]),
    }, "web: 1 requests arrived without mutual TLS"],
    [
      "a plaintext hop",
      { mesh: new Map([["web", proxy(4, 1)]]) },
      "web's proxy: 1 hops were plaintext",
    ],
    [
      "a proxy without mutual TLS",
      { mesh: new Map([["web", proxy(0, 0)]]) },
      "web's proxy: no hop was mutual TLS",
    ],
    [
      "one swap only",
      { swaps: [swap] },
      "1 swaps of a filter had requests crossing them: at least 2 must",
    ],
    [
      "a swap that nothing crossed",
      { swaps: [swap, { ...swap, crossed: 0 }] },
      "1 swaps of a filter had requests crossing them: at least 2 must",
    ],
    [
      "a failure during a swap",
      { swaps: [swap, swap, { ...swap, failed: 1 }] },
      "header-modifier: 1 requests failed while it was swapped",
    ],
    [
      "a swap that was not taken",
      { swaps: [swap, swap, { ...swap, done: false }] },
      "header-modifier: a swap did not reach every proxy",
    ],
    ["a process that died", { died: ["vote"] }, "vote ended by itself"],
  ] as const
) {
  test(`broken() names ${what}`, () => {
    assert.equal(broken({ ...good, ...facts } as DemoFacts), [line]);
  });
}

test("a swap that was not taken does not count as one", () => {
  const { swaps, requestsAcrossSwaps } = report({
    ...good,
    swaps: [swap, { ...swap, done: false }],
  });
  assert.is(swaps, 1);
  assert.is(requestsAcrossSwaps, 12);
});

test("a demo that somebody stops early need not have done what takes time, and must not have failed", () => {
  const early: DemoFacts = {
    ...good,
    swaps: [],
    load: { requests: 0, failed: 0 },
    services: new Map([["web", counts({ requests: 0, failures: 0, arrived: 0, arrivedMtls: 0 })]]),
    isStopped: true,
  };
  assert.equal(broken(early), []);
  assert.equal(broken({ ...early, load: { requests: 10, failed: 1 }, died: ["vote"] }), [
    "the load saw 1 of 10 requests fail",
    "vote ended by itself",
  ]);
});

test.run();
