// One data-plane thread of test/wasm/cells.test.ts: four engines, so four instances of the filter, over
// the memory that all threads share.

import { parentPort, workerData } from "node:worker_threads";
import { CONTINUE } from "../../src/core/filter.ts";
import { HostCells } from "../../wasm/host/cells.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { get, moduleBytes, refTo } from "./support.ts";

const { memory, gate, rounds, burst } = workerData as {
  memory: SharedArrayBuffer;
  gate: SharedArrayBuffer;
  rounds: number;
  burst: number;
};
const limited = moduleBytes("fixtures/limited");
const clock = { now: () => performance.now(), wall: () => 1000, after: () => () => {} };
const ref = refTo(limited, { rate: 0.001, burst }, { name: "limited", cpuPercent: 100 });
const cells = new HostCells(memory, clock, Math.random());
const engines = Array.from({ length: 4 }, () => createEngine({ clock, cells }));
const chains = await Promise.all(
  engines.map(async (engine) => engine.chain([await engine.prepare(limited, ref)])),
);
// all begin together
const ready = new Int32Array(gate);
if (Atomics.add(ready, 0, 1) === 2) Atomics.notify(ready, 0);
for (let n = Atomics.load(ready, 0); n < 3; n = Atomics.load(ready, 0)) {
  Atomics.wait(ready, 0, n, 50);
}
let passed = 0;
for (let i = 0; i < rounds; i++) {
  for (const chain of chains) {
    if (chain.requestHead(get("/", { "x-user": `u${i % 7}` })) === CONTINUE) passed++;
  }
}
const sums = engines.map((engine) =>
  engine.series().find((s) => s.metric.name === "highest_total")?.values[0] ?? 0
);
parentPort?.postMessage({ passed, highest: Math.max(...sums) });
