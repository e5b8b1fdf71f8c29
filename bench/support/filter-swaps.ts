// Replaces a filter 200 times while requests run: how many fail, and how much memory stays.

import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Exchange } from "../../src/core/exchange.ts";
import { CONTINUE, NO_FILTERS } from "../../src/core/filter.ts";
import { get, moduleBytes, refTo, responseHead } from "../../test/wasm/support.ts";
import { createEngine } from "../../wasm/host/engine.ts";

const clock = { now: () => performance.now(), wall: () => Date.now(), after: () => () => {} };
const answer = responseHead(200, { "content-type": "application/json" });
const SWAPS = 200;
const REQUESTS_PER_SWAP = 500;

/** Replaces a filter again and again while requests run; each ends on the build that it began with. */
export async function swaps(): Promise<{ swapFailures: number; swapMemoryMiB: number }> {
  const engine = createEngine({ clock });
  const builds = [moduleBytes("header-modifier"), moduleBytes("header-modifier.v2")];
  const x = Array.from({ length: 8 }, () => get("/api/books", { accept: "*/*" }));
  let swapFailures = 0;
  let memory = 0;
  let chain = NO_FILTERS;
  for (let swap = 0; swap < SWAPS; swap++) {
    const bytes = builds[swap & 1] as Uint8Array;
    const config = { requestSet: { "x-swap": String(swap) }, responseSet: { "x-swap": "yes" } };
    const crossing = x.map((one) => {
      one.request.edits.length = 0;
      if (chain.requestHead(one) !== CONTINUE) swapFailures++;
      one.chain = chain;
      return one;
    });
    chain = engine.chain([
      await engine.prepare(bytes, refTo(bytes, config, { name: "swapped", cpuPercent: 100 })),
    ]);
    for (const one of crossing) {
      answer.edits.length = 0;
      if (one.chain.responseHead(one, answer) !== CONTINUE) swapFailures++;
      one.chain = NO_FILTERS;
    }
    for (let i = 0; i < REQUESTS_PER_SWAP; i++) {
      const one = x[i & 7] as Exchange;
      one.request.edits.length = 0;
      if (chain.requestHead(one) !== CONTINUE) swapFailures++;
    }
    await new Promise((resolve) => setImmediate(resolve));
    // after the first quarter everything that stays is there
    if (swap === SWAPS / 4) memory = await settled();
  }
  return { swapFailures, swapMemoryMiB: (await settled() - memory) / 1024 / 1024 };
}

/** Resident memory after the collector has run. */
async function settled(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().rss;
}
