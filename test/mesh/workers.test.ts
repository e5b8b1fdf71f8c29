// A data plane in three real worker threads: state that is one per proxy, filters that are swapped while
// all of them serve, workers that end, sums, and drain.

import net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { FilterRef } from "../../src/core/filter.ts";
import { moduleBytes, refTo } from "../wasm/support.ts";
import { startFleet, type TestFleet, type TestWorker } from "./support/fleet.ts";
import { startLoad } from "./support/load.ts";
import { eventually, sum } from "./support/waiting.ts";

const WORKERS = 3;
const SLOW_MACHINE_MS = 30_000;
/** Released by the test: what the application answers to /slow. */
let slow = Promise.withResolvers<void>();
let fleet: TestFleet;

test.before.each(async () => {
  slow = Promise.withResolvers<void>();
  fleet = await startFleet(WORKERS, async ({ path }) => {
    if (path === "/slow") await slow.promise;
    return { body: path };
  });
});
test.after.each(async () => {
  slow.resolve();
  await fleet.end();
});

/** A filter that the fleet can load. */
function filter(
  name: string,
  module: string,
  config: unknown,
  more: Partial<FilterRef> = {},
): FilterRef {
  const bytes = moduleBytes(module);
  const ref = refTo(bytes, config, { name, cpuPercent: 100, ...more });
  fleet.module(bytes, ref);
  return ref;
}

const edited = (value: string, module = "header-modifier") =>
  filter("header-modifier", module, { responseSet: { "x-edited": value } });

/** Calls of filters in each worker, by its newest report. */
async function calls(): Promise<readonly number[]> {
  await fleet.fleet.report();
  return fleet.workers.filter((w) => !w.isGone).map((worker) => {
    const report = worker.said.findLast((m) => m.type === "report");
    return report?.type === "report"
      ? report.report.filterStats.reduce((n, s) => n + s.calls, 0)
      : 0;
  });
}

/** Many requests at once, each on its own connection. */
async function many(count: number, ask: (i: number) => ReturnType<TestFleet["get"]>) {
  const answers = [];
  for (let from = 0; from < count; from += 30) {
    const some = Array.from({ length: Math.min(30, count - from) }, (_, i) => ask(from + i));
    answers.push(...await Promise.all(some));
  }
  return answers;
}

const served = (answers: readonly { readonly headers: Readonly<Record<string, string>> }[]) => [
  ...new Set(answers.map((a) => a.headers["x-edited"])),
];

test("three workers with pools of four instances share a rate limit exactly", async () => {
  const burst = 100;
  fleet.route(...[0, 1, 2, 3].map((i) =>
    [
      `/pool-${i}`,
      // Other limits are another instance in each worker; the bucket is the filter's and the user's.
      [filter("limited", "fixtures/limited", { rate: 0.000001, burst }, { cpuPercent: 97 + i })],
    ] as const
  ));
  const answers = await many(360, (i) => fleet.get(`/pool-${i % 4}`, { "x-user": "kim" }));
  const statuses = answers.map((a) => a.status);
  assert.is(statuses.filter((s) => s === 200).length, burst);
  assert.is(statuses.filter((s) => s === 429).length, 360 - burst);
  assert.equal(fleet.workers.map(acknowledged), [4, 4, 4], "four instances in each");
  const perWorker = await calls();
  assert.is(perWorker.length, WORKERS);
  assert.ok(perWorker.every((n) => n > 0), `each worker had requests: ${perWorker}`);
  assert.is(perWorker.reduce((a, b) => a + b, 0), 360);
});

test("a filter is swapped while all workers serve, only when the last has acknowledged", async () => {
  fleet.route(["/", [edited("first")]]);
  const state = () => fleet.status().map((s) => [s.state, s.servingSha256 === s.wantedSha256]);
  assert.equal(served(await many(60, () => fleet.get("/"))), ["first"]);
  assert.equal(state(), [["ready", true]]);
  const load = startLoad(6, () => fleet.get("/"));
  const [, held] = fleet.workers as [TestWorker, TestWorker, TestWorker];
  held.hold = "filter";
  const before = fleet.workers.map((w) => acknowledged(w));
  fleet.route(["/", [edited("second", "header-modifier.v2")]]);
  await eventually("the two others have acknowledged", () => {
    const since = fleet.workers.map((w, i) => acknowledged(w) - before[i]!);
    assert.equal(since.map((n) => n > 0), [true, false, true]);
  }, SLOW_MACHINE_MS);
  // Loading, or on a very slow machine tried again: nothing is ready, and nobody serves it.
  const isOld = () => {
    for (const { state, servingSha256, wantedSha256 } of fleet.status()) {
      assert.is.not(state, "ready");
      assert.is.not(servingSha256, wantedSha256);
    }
  };
  isOld();
  assert.equal(served(await many(60, () => fleet.get("/"))), ["first"]);
  isOld();
  held.release();
  await eventually("all serve the second", async () => {
    assert.equal(state(), [["ready", true]]);
    assert.equal(served(await many(60, () => fleet.get("/"))), ["second"]);
  }, SLOW_MACHINE_MS);
  // Back and forth, without a pause between.
  for (let round = 0; round < 6; round++) {
    const value = `round-${round}`;
    fleet.route(["/", [edited(value, round % 2 === 0 ? "header-modifier" : "header-modifier.v2")]]);
    await eventually(`all serve ${value}`, async () => {
      assert.equal(state(), [["ready", true]]);
      assert.equal(served(await many(12, () => fleet.get("/"))), [value]);
    }, SLOW_MACHINE_MS);
  }
  await load.stop();
  assert.ok(load.done > 100, `${load.done} requests`);
  assert.equal(load.failures, []);
});

test("requests finish on the version that they began with", async () => {
  fleet.route(["/", [edited("first")]]);
  const waiting = [1, 2, 3, 4, 5, 6].map(() => fleet.get("/slow"));
  await eventually("they are under way", async () => {
    const { endpoints } = await fleet.fleet.report();
    assert.is(endpoints[0]?.pending, 6);
  }, SLOW_MACHINE_MS);
  fleet.route(["/", [edited("second")]]);
  await eventually("new ones run the second", async () => {
    assert.equal(served(await many(30, () => fleet.get("/"))), ["second"]);
  }, SLOW_MACHINE_MS);
  slow.resolve();
  const answers = await Promise.all(waiting);
  assert.equal(served(answers), ["first"]);
  assert.ok(answers.every((a) => a.status === 200));
});

test("a worker that is killed is counted and started again, and the others serve on", async () => {
  fleet.route(["/", [edited("first")]]);
  await many(60, () => fleet.get("/"));
  assert.is(sum(await fleet.samples(), "request_total"), 60);
  const [, second] = fleet.workers as [TestWorker, TestWorker, TestWorker];
  second.kill();
  await eventually("its end is known", () => assert.ok(second.isGone), SLOW_MACHINE_MS);
  await eventually("the others serve on", async () => {
    const meanwhile = await many(60, () => fleet.get("/"));
    assert.ok(meanwhile.every((a) => a.status === 200));
    assert.equal(served(meanwhile), ["first"]);
  }, SLOW_MACHINE_MS);
  await eventually("three serve again", async () => {
    const samples = await fleet.samples();
    assert.is(sum(samples, "worker_threads_serving"), 3);
    assert.is(sum(samples, "worker_exits_total", { worker: "2" }), 1);
  }, SLOW_MACHINE_MS);
  assert.is(fleet.workers.length, 4);
  assert.ok(fleet.lines.some((l) => l.includes("A worker ended: the others serve on")));
  await eventually("the new one serves, with the filter", async () => {
    assert.equal(served(await many(30, () => fleet.get("/"))), ["first"]);
    assert.ok((await calls()).every((n) => n > 0));
  }, SLOW_MACHINE_MS);
  const total = sum(await fleet.samples(), "request_total");
  assert.ok(total >= 150, `what the killed one counted still counts: ${total}`);
});

test("figures are those of all workers together", async () => {
  fleet.route(["/", [filter("limited", "fixtures/limited", { rate: 1, burst: 1000 })]]);
  await many(120, (i) => fleet.get(i % 4 === 0 ? "/none" : "/", { "x-user": `u${i % 3}` }));
  const samples = await fleet.samples();
  assert.is(sum(samples, "request_total"), 120);
  assert.is(sum(samples, "response_total", { status_code: "200" }), 120);
  assert.is(sum(samples, "response_latency_ms_bucket", { le: "+Inf" }), 120);
  assert.is(sum(samples, "response_latency_ms_count"), 120);
  assert.is(sum(samples, "tcp_open_total", { peer: "src" }), 120);
  // Each instance adds what the shared counter went up since it last looked: the greatest is all.
  assert.ok(sum(samples, "filter_highest_total") >= 120);
  await eventually("no connection is left", async () => {
    assert.is(sum(await fleet.samples(), "tcp_open_connections", { peer: "src" }), 0);
  }, SLOW_MACHINE_MS);
});

test("a drain lets every worker finish, and accepts nothing new", async () => {
  fleet.route(["/", [edited("first")]]);
  const waiting = [1, 2, 3, 4, 5, 6].map(() => fleet.get("/slow"));
  await eventually("they are under way", async () => {
    const { endpoints } = await fleet.fleet.report();
    assert.is(endpoints[0]?.pending, 6);
  }, SLOW_MACHINE_MS);
  let isOver = false;
  const drained = fleet.fleet.drain(SLOW_MACHINE_MS).then(() => isOver = true);
  await eventually("nobody listens", async () => {
    assert.is(await knock(), "ECONNREFUSED");
  }, SLOW_MACHINE_MS);
  assert.is(isOver, false);
  slow.resolve();
  assert.ok((await Promise.all(waiting)).every((a) => a.status === 200));
  await drained;
  await fleet.fleet.close();
  assert.ok(fleet.workers.every((w) => w.isGone));
  assert.is(fleet.workers.length, WORKERS);
});

/** What a new connection meets. */
function knock(): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(fleet.port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve("somebody who listens");
    });
    socket.on("error", (e: Error & { code?: string }) => resolve(e.code ?? e.message));
  });
}

/** Filters that a worker said it took. */
function acknowledged(worker: TestWorker): number {
  return worker.said.filter((m) => m.type === "took" && m.refused === null).length;
}

test.run();
