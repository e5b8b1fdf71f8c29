// What filters add to a request: the same policy (two headers read, one set, one counted, a decision
// on retries) in plain JavaScript and as a filter, with and without fuel; five filters in a chain;
// what an instance takes to make; 200 swaps under load. All variants run in turn, round by round, on the same heads; the
// ratios are the figures to trust.

import { pathToFileURL } from "node:url";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Exchange } from "../src/core/exchange.ts";
import {
  CONTINUE,
  type FilterChain,
  HOOK_END,
  HOOK_OUTCOME,
  HOOK_RESPONSE,
  NO_FILTERS,
  type Outcome,
} from "../src/core/filter.ts";
import { headerName } from "../src/core/head.ts";
import { SILENT } from "../src/core/log.ts";
import { get, moduleBytes, refTo, responseHead } from "../test/wasm/support.ts";
import { readConfig } from "../wasm/host/config.ts";
import { createCounts } from "../wasm/host/counts.ts";
import { Guest } from "../wasm/host/guest.ts";
import { readManifest } from "../wasm/host/manifest.ts";
import { MetricStore } from "../wasm/host/metrics.ts";
import { parseModule } from "../wasm/host/parse.ts";
import { COMPILE_OPTIONS, describe, FilterPlan } from "../wasm/host/plan.ts";
import { rewriteModule } from "../wasm/host/rewrite.ts";
import { Chain } from "../wasm/host/chain.ts";
import { FilterUnit } from "../wasm/host/unit.ts";
import { share } from "./support/filter-share.ts";
import { swaps } from "./support/filter-swaps.ts";
import { machine, median, table } from "./support/table.ts";

const USAGE = `Usage: npm run bench -- filters [flags]
  --rounds N   rounds; the median counts (15)
  --json       print one JSON document instead of the table`;

/** What each figure should be at most on a machine that does nothing else. */
const TARGETS: Readonly<Record<string, number>> = {
  noopUs: 0.15,
  policyUs: 0.5,
  fiveFiltersUs: 1.5,
  fiveFiltersShare: 0.05,
  instantiateUs: 100,
  fuelRatio: 1.6,
  swapFailures: 0,
  swapMemoryMiB: 4,
};

const clock = { now: () => performance.now(), wall: () => Date.now(), after: () => () => {} };
const world = {
  now: clock.now,
  wall: clock.wall,
  random: Math.random,
  log: SILENT,
  cells: null,
  mayLog: () => false,
};

/** Headers as a browser behind an ingress sends them. */
const HEADERS: Record<string, string> = {
  "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  "accept-language": "en-US,en;q=0.5",
  "accept-encoding": "gzip, deflate, br",
  "x-forwarded-for": "10.1.2.3",
  "x-forwarded-proto": "https",
  "x-request-id": "0123456789abcdef",
  "x-user-tier": "gold",
  "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  "cookie": "session=3f2504e0-4f89-11d3-9a0c-0305e82c3301",
  "content-type": "application/json",
  "cache-control": "no-cache",
  "l5d-dst-canonical": "books.default.svc.cluster.local:80",
};

const TIER = headerName("x-user-tier");
const FORBIDDEN = headerName("x-forbidden");
const PRIORITY = headerName("x-priority");
const tiers = new Float64Array(2);

/** The policy of wasm/fixtures/assembly/policy.ts in JavaScript. */
const inJavaScript: FilterChain = {
  ...NO_FILTERS,
  hooks: 3,
  requestHead(x) {
    const isGold = x.request.get(TIER) === "gold";
    tiers[isGold ? 0 : 1] = (tiers[isGold ? 0 : 1] as number) + 1;
    if (x.request.get(FORBIDDEN) === "yes") return CONTINUE;
    x.request.set(PRIORITY, isGold ? "high" : "normal");
    return CONTINUE;
  },
  attemptOutcome(x, outcome) {
    return outcome.status >= 502 && outcome.status <= 504 && x.attempt < 2 ? 10 : -1;
  },
};

/** Enough for the collector's rounds of the fixture that computes. */
const BOUNDS = { fuelPerHook: 20_000_000, fuelToStart: 200_000_000, memoryPages: 16 };

async function plan(name: string, meter: boolean): Promise<FilterPlan> {
  const bytes = moduleBytes(name);
  const ref = refTo(bytes, null, { name, cpuPercent: 100 });
  const parsed = parseModule(bytes);
  const manifest = readManifest(parsed.manifest);
  const module = await WebAssembly.compile(rewriteModule(parsed, BOUNDS, meter), COMPILE_OPTIONS);
  const config = readConfig(ref.config, manifest);
  const info = describe(manifest, parsed.exports, ref.sha256, ref.size, []);
  return new FilterPlan(ref, info, module, manifest, config, BOUNDS.fuelPerHook);
}

function chainOf(...plans: readonly FilterPlan[]): FilterChain {
  const units = plans.map((p) => new FilterUnit(p, world, new MetricStore(), createCounts()));
  return new Chain(units, false);
}

const outcome: Outcome = { status: 200, error: 0, elapsedMs: 1 };
const answer = responseHead(200, { "content-type": "application/json", "x-powered-by": "x" });
let failed = 0;

/** Nanoseconds per request of one chain. */
function time(chain: FilterChain, exchanges: readonly Exchange[], requests: number): number {
  const startedMs = performance.now();
  for (let i = 0; i < requests; i++) {
    const x = exchanges[i & 63] as Exchange;
    x.request.edits.length = 0;
    failed += chain.requestHead(x);
    if ((chain.hooks & HOOK_OUTCOME) !== 0 && chain.attemptOutcome(x, outcome) !== -1) failed++;
    if ((chain.hooks & HOOK_RESPONSE) !== 0) {
      answer.edits.length = 0;
      failed += chain.responseHead(x, answer);
    }
    if ((chain.hooks & HOOK_END) !== 0) chain.end(x, 200, 1);
  }
  return (performance.now() - startedMs) * 1e6 / requests;
}

/** Runs the bench; the exit status. */
export async function filters(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      rounds: { type: "string", default: "15" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (values.help || !Number.isInteger(rounds) || rounds < 1) {
    console.error(USAGE);
    return values.help ? 0 : 2;
  }
  const policy = await plan("fixtures/policy", true);
  const noop = await plan("fixtures/noop", true);
  const modifier = await plan("header-modifier", true);
  const metrics = await plan("route-metrics", true);
  const retry = await plan("retry", true);
  const compute = await plan("fixtures/compute", true);
  const variants: readonly (readonly [name: string, chain: FilterChain, requests: number])[] = [
    ["policy in JavaScript", inJavaScript, 200_000],
    ["policy, no fuel", chainOf(await plan("fixtures/policy", false)), 200_000],
    ["policy", chainOf(policy), 200_000],
    ["no-op", chainOf(noop), 200_000],
    ["five filters", chainOf(policy, modifier, metrics, retry, noop), 100_000],
    ["compute, no fuel", chainOf(await plan("fixtures/compute", false)), 200],
    ["compute", chainOf(compute), 200],
  ];
  const exchanges = Array.from({ length: 64 }, () => get("/api/books?page=2", HEADERS));
  const times = variants.map(() => [] as number[]);
  for (let round = -3; round < rounds; round++) {
    variants.forEach(([, chain, requests], i) => {
      const ns = time(chain, exchanges, requests);
      if (round >= 0) times[i]?.push(ns);
    });
  }
  const ns = new Map(variants.map(([name], i) => [name, median(times[i] ?? [])]));
  // both of a ratio are from the same round, so that a busy neighbour slows both
  const roundsOf = (name: string) => times[variants.findIndex(([n]) => n === name)] ?? [];
  const against = (name: string, base: string) =>
    median(roundsOf(name).map((value, round) => value / (roundsOf(base)[round] ?? NaN)));

  const kept: Guest[] = [];
  const idle: FilterPlan[] = [policy, modifier, metrics, retry];
  const made: number[] = [];
  const rssBefore = process.memoryUsage().rss;
  for (let i = 0; i < 400; i++) {
    const startedMs = performance.now();
    kept.push(new Guest(idle[i & 3] as FilterPlan, world));
    made.push((performance.now() - startedMs) * 1000);
  }
  const idleKiB = (process.memoryUsage().rss - rssBefore) / 1024 / kept.length;

  const figures = {
    noopUs: (ns.get("no-op") ?? NaN) / 1000,
    policyUs: (ns.get("policy") ?? NaN) / 1000,
    fiveFiltersUs: (ns.get("five filters") ?? NaN) / 1000,
    policyToJavaScript: against("policy", "policy in JavaScript"),
    policyToJavaScriptWithoutFuel: against("policy, no fuel", "policy in JavaScript"),
    fuelRatioOfPolicy: against("policy", "policy, no fuel"),
    fuelRatio: against("compute", "compute, no fuel"),
    instantiateUs: median(made),
    idleKiB,
    ...await share((ns.get("five filters") ?? NaN) / 1000),
    ...await swaps(),
  };
  if (values.json) {
    console.log(
      JSON.stringify({ bench: "filters", machine: machine(), rounds, figures, targets: TARGETS }),
    );
  } else {
    console.log(machine());
    console.log(table(
      ["per request", "ns"],
      variants.map(([name]) => [name, (ns.get(name) ?? NaN).toFixed(0)]),
    ));
    console.log(table(
      ["figure", "", "target", ""],
      Object.entries(figures).map(([name, value]) => {
        const most = TARGETS[name];
        const verdict = most === undefined || value === null
          ? ""
          : value <= most
          ? "met"
          : "missed";
        return [name, value?.toFixed(3) ?? "–", most === undefined ? "" : `≤ ${most}`, verdict];
      }),
    ));
  }
  const wrong = failed + figures.swapFailures;
  if (wrong === 0) return 0;
  console.error(`bench: ${wrong} calls did not go on as they should; the figures mean nothing`);
  return 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  process.exitCode = await filters(process.argv.slice(2));
}
