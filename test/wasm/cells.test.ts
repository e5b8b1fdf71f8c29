import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CONTINUE, REPLY } from "../../src/core/filter.ts";
import { CELLS_BYTES, HostCells } from "../../wasm/host/cells.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { get, moduleBytes, refTo } from "./support.ts";

function make(seed = 0.5) {
  const clock = { ms: 1_700_000_000_000, wall: () => clock.ms };
  const memory = new SharedArrayBuffer(CELLS_BYTES);
  return { clock, memory, cells: new HostCells(memory, clock, seed) };
}

test("a bucket gives its burst at once, then its rate", () => {
  const { clock, cells } = make();
  const takes = (n: number) => {
    let taken = 0;
    for (let i = 0; i < n; i++) if (cells.take("a", 5, 10, 1)) taken++;
    return taken;
  };
  assert.is(takes(30), 10);
  clock.ms += 1000;
  assert.is(takes(30), 5);
  clock.ms += 100;
  assert.is(takes(30), 0, "half a token");
  clock.ms += 100;
  assert.is(takes(30), 1);
  clock.ms += 60_000;
  assert.is(takes(30), 10, "never more than the burst");
  assert.ok(!cells.take("b", 5, 10, 11), "more than there can ever be");
  assert.ok(cells.take("b", 5, 10, 10), "nothing was taken before");
});

test("a clock that goes back leaves an empty bucket, which fills again", () => {
  const { clock, cells } = make();
  while (cells.take("a", 1, 5, 1));
  clock.ms -= 7 * 86_400_000;
  assert.not(cells.take("a", 1, 5, 1));
  clock.ms += 1000;
  assert.ok(cells.take("a", 1, 5, 1));
  assert.not(cells.take("a", 1, 5, 1));
});

test("threads see one bucket and one counter through their own views", () => {
  const { clock, memory, cells } = make();
  const other = new HostCells(memory, clock, 0.1);
  assert.ok(cells.take("k", 1, 2, 1));
  assert.ok(other.take("k", 1, 2, 1));
  assert.not(cells.take("k", 1, 2, 1));
  assert.is(cells.add("c", 2), 2);
  assert.is(other.add("c", -5), -3);
});

test("hostile keys cannot fill memory, and do not free a bucket that is in use", () => {
  const { clock, cells } = make();
  while (cells.take("victim", 0.01, 100, 1));
  for (let i = 0; i < 50_000; i++) {
    cells.take(`flood${i}`, 1000, 1, 1);
    clock.ms += 0.01;
  }
  assert.ok(cells.forgotten > 40_000);
  assert.not(cells.take("victim", 0.01, 100, 1), "it has the most to remember");
  let rooms = 0;
  for (let i = 0; i < 5000; i++) if (!Number.isNaN(cells.add(`c${i}`, 1))) rooms++;
  assert.ok(rooms <= 1024 && rooms > 900, String(rooms));
  assert.is(cells.add("c0", 1), 2, "counters are never given up");
});

test("a filter limits by key, apart from other filters with the same keys", async () => {
  const limited = moduleBytes("fixtures/limited");
  const clock = new FakeClock();
  const engine = createEngine({ clock });
  const chain = async (name: string) =>
    engine.chain([await engine.prepare(limited, refTo(limited, { rate: 1, burst: 2 }, { name }))]);
  const [a, b] = [await chain("a"), await chain("b")];
  const ask = (of: typeof a, user: string) => of.requestHead(get("/", { "x-user": user }));
  assert.equal([ask(a, "x"), ask(a, "x"), ask(a, "x")], [CONTINUE, CONTINUE, REPLY]);
  assert.is(ask(a, "y"), CONTINUE);
  assert.is(ask(b, "x"), CONTINUE);
  clock.advance(1000);
  assert.is(ask(a, "x"), CONTINUE);
});

test("three workers with four instances each take exactly what there is", async () => {
  const memory = new SharedArrayBuffer(CELLS_BYTES);
  const gate = new SharedArrayBuffer(4);
  const burst = 10_000;
  const results = await Promise.all(
    Array.from(
      { length: 3 },
      () =>
        new Promise<{ passed: number; highest: number }>((resolve, reject) => {
          const worker = new Worker(new URL("./cells-worker.ts", import.meta.url), {
            workerData: { memory, gate, rounds: 24_500, burst },
          });
          worker.once("message", (message) => {
            void worker.terminate();
            resolve(message);
          });
          worker.once("error", reject);
        }),
    ),
  );
  const passed = results.reduce((sum, r) => sum + r.passed, 0);
  assert.is(passed, 7 * burst, "each of the seven users got one burst in the whole proxy");
  assert.ok(results.every((r) => r.passed > 0), JSON.stringify(results));
  assert.is(Math.max(...results.map((r) => r.highest)), passed, "one counter for all");
});

test.run();
