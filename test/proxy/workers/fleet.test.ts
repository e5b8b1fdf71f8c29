// A fleet of workers that are no threads: acknowledgements that are held back, workers that refuse, are
// silent or die, and what is counted and said of it. Real threads are in test/mesh/workers.test.ts.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { FilterRefused } from "../../../src/core/filter.ts";
import { createLogger } from "../../../src/core/log.ts";
import { Sheet } from "../../../src/core/sheet.ts";
import type {
  Discovery,
  InboundSnapshot,
  OutboundSnapshot,
} from "../../../src/proxy/discovery/discovery.ts";
import { fixedView } from "../../../src/proxy/discovery/shared.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { Fleet } from "../../../src/proxy/workers/fleet.ts";
import { PING_MS, TAKE_MS } from "../../../src/proxy/workers/link.ts";
import { familyInfo, type FromWorker, type ToWorker } from "../../../src/proxy/workers/protocol.ts";
import { createEngine } from "../../../wasm/host/engine.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { moduleBytes, refTo } from "../../wasm/support.ts";
import { type FakeThread, fakeThreads, healthy } from "./fake-threads.ts";

const NOTHING: Discovery = {
  outbound: () => fixedView<OutboundSnapshot>(null, "nothing is known"),
  inbound: () => fixedView<InboundSnapshot>(null, "nothing is known"),
};
const KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
const CREDENTIALS = { certPem: "cert", keyPem: KEY, anchorsPem: "anchors", serverName: "web" };
const noop = moduleBytes("fixtures/noop");

function fleet(workers = 3) {
  const clock = new FakeClock();
  const { threads, start } = fakeThreads();
  const lines: string[] = [];
  const log = createLogger({
    level: "debug",
    format: "plain",
    wall: () => 0,
    write: (line) => lines.push(line),
  });
  const metrics = new ProxyMetrics();
  const one = new Fleet({
    workers,
    data: {
      plane: {
        kind: "static",
        options: {
          listen: { ip: "127.0.0.1", port: 4140 },
          to: [],
          inbound: false,
          identityDir: null,
          upstreamProtocol: "same",
        },
      },
      log: { format: "plain" },
      cells: new SharedArrayBuffer(8),
    },
    start,
    engine: createEngine({ clock }),
    metrics,
    clock,
    random: () => 0.5,
    log,
  });
  one.begin(NOTHING);
  return { fleet: one, threads, clock, lines, metrics };
}

const types = (thread: FakeThread | undefined) => thread?.got.map((m) => m.type);

/** Everything that is due in this turn and in those that follow from it. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** What came of a promise so far. */
function watchPromise<T>(promise: Promise<T>) {
  const seen: { state: "waiting" | "done" | "failed"; error: unknown } = {
    state: "waiting",
    error: null,
  };
  promise.then(() => seen.state = "done", (e: unknown) => {
    seen.state = "failed";
    seen.error = e;
  });
  return seen;
}

test("a filter is ready only when the last worker has acknowledged it", async () => {
  const { fleet: one, threads } = fleet();
  let held: ToWorker | null = null;
  const [, second] = threads;
  second!.on = (message) => {
    if (message.type === "filter") held = message;
    else healthy(second!, message);
  };
  const seen = watchPromise(one.engine.prepare(noop, refTo(noop)));
  await settle();
  assert.equal(threads.map((t) => types(t)), [["filter"], ["filter"], ["filter"]]);
  assert.is(seen.state, "waiting");
  healthy(second!, held as unknown as ToWorker);
  await settle();
  assert.is(seen.state, "done");
});

test("a worker that refuses a filter has its reason reported, and all forget it", async () => {
  const { fleet: one, threads } = fleet();
  const [, , third] = threads;
  third!.on = (message) => {
    if (message.type !== "filter") return healthy(third!, message);
    third!.say({ type: "took", id: message.id, refused: "no memory left" });
  };
  const seen = watchPromise(one.engine.prepare(noop, refTo(noop)));
  await settle();
  assert.is(seen.state, "failed");
  assert.instance(seen.error, FilterRefused);
  assert.is((seen.error as Error).message, "worker 3: no memory left");
  for (const thread of threads) assert.equal(types(thread), ["filter", "forget"]);
});

test("a worker that does not answer in time is named, and the filter may be tried again", async () => {
  const { fleet: one, threads, clock } = fleet();
  const [first] = threads;
  first!.on = () => {};
  const seen = watchPromise(one.engine.prepare(noop, refTo(noop)));
  await settle();
  clock.advance(TAKE_MS - 1);
  await settle();
  assert.is(seen.state, "waiting");
  clock.advance(1);
  await settle();
  assert.is(seen.state, "failed");
  assert.not.instance(seen.error, FilterRefused);
  assert.match((seen.error as Error).message, /^worker 1 did not acknowledge within 5000 ms$/);
});

test("a worker that dies while it is waited for does not hold a filter up", async () => {
  const { fleet: one, threads } = fleet();
  const [first] = threads;
  first!.on = () => {};
  const seen = watchPromise(one.engine.prepare(noop, refTo(noop)));
  await settle();
  first!.die("boom");
  await settle();
  assert.is(seen.state, "done");
});

test("a worker that dies is counted, said and started again with all that it needs", async () => {
  const { fleet: one, threads, clock, lines, metrics } = fleet();
  one.credentials(CREDENTIALS);
  const kept = await one.engine.prepare(noop, refTo(noop));
  await one.listen();
  threads[1]!.die("boom");
  assert.is(valueOf(metrics.sheet, "worker_exits_total", 'worker="2"'), 1);
  assert.is(valueOf(metrics.sheet, "worker_threads_serving", ""), 2);
  assert.ok(lines.some((l) => /ERROR.*A worker ended.*worker=2 why=boom restartMs=100/.test(l)));
  assert.is(threads.length, 3);
  clock.advance(100);
  await settle();
  assert.is(threads.length, 4);
  assert.is(threads[3]?.start.number, 2);
  assert.equal(types(threads[3]), ["filter", "credentials", "listen"]);
  assert.is(valueOf(metrics.sheet, "worker_threads_serving", ""), 3);
  // again and again: longer and longer
  threads[3]!.die("boom");
  clock.advance(199);
  assert.is(threads.length, 4);
  clock.advance(1);
  assert.is(threads.length, 5);
  assert.is(kept.info?.size, noop.length);
  assert.not.ok(lines.join("\n").includes("c2VjcmV0"), "a private key is in the log");
});

test("a worker that hangs is ended and started again; one that is only slow is not", async () => {
  const { fleet: one, threads, clock, lines } = fleet(2);
  await one.listen();
  const [first, second] = threads as [FakeThread, FakeThread];
  let asked = 0;
  first.on = (message) => {
    if (message.type === "ping" && ++asked === 3) first.say({ type: "pong" });
  };
  second.on = () => {};
  clock.advance(3 * PING_MS);
  assert.equal([first.isEnded, second.isEnded], [false, false]);
  clock.advance(PING_MS);
  assert.equal([first.isEnded, second.isEnded], [false, true]);
  assert.ok(lines.some((l) => l.includes("A worker hangs and is ended worker=2")));
  await settle();
  clock.advance(100);
  assert.is(threads[2]?.start.number, 2);
  first.on = (message) => healthy(first, message);
  await one.close();
});

test("what one worker meets, all of them watch, also those that begin later", () => {
  const { threads, clock } = fleet(2);
  threads[0]!.say({ type: "inbound", id: 0, port: 8080 });
  threads[1]!.say({ type: "inbound", id: 0, port: 8080 });
  const ports = (t: FakeThread | undefined) => t?.got.filter((m) => m.type === "port");
  for (const thread of threads) assert.equal(ports(thread), [{ type: "port", port: 8080 }]);
  threads[0]!.die("boom");
  clock.advance(100);
  assert.equal(ports(threads[2]), [{ type: "port", port: 8080 }]);
});

test("a filter that nobody names any more is not sent to workers that begin", async () => {
  const { fleet: one, threads, clock } = fleet(1);
  threads[0]!.on = (message) => {
    if (message.type !== "filter") return healthy(threads[0]!, message);
    threads[0]!.say({ type: "took", id: message.id, refused: "not here" });
  };
  await one.engine.prepare(noop, refTo(noop)).catch(() => {});
  threads[0]!.die("boom");
  clock.advance(100);
  assert.equal(types(threads[1]), []);
});

test("figures are summed over the workers, and over those that ended", async () => {
  const { fleet: one, threads, metrics } = fleet(2);
  await one.listen();
  metrics.count(metrics.inboundErrors, { error: "own" });
  threads.forEach((thread, i) => {
    const sheet = new Sheet({
      cells: 4,
      watcher: {
        memory: (cells) => thread.say({ type: "cells", cells }),
        series: (family, series) =>
          thread.say({ type: "series", family: familyInfo(family), series }),
        dropped: ({ name }, { labels }) => thread.say({ type: "dropped", family: name, labels }),
      },
    });
    const theirs = new ProxyMetrics(sheet);
    theirs.count(theirs.request, { direction: "outbound" });
    sheet.set(sheet.cell(theirs.tcpOpenNow, {}), 5);
    thread.on = (message) => {
      if (message.type !== "report") return healthy(thread, message);
      thread.say(report(message.id, i + 1));
    };
  });
  const both = await one.report();
  assert.is(valueOf(both.sheet, "request_total", 'direction="outbound"'), 2);
  assert.is(valueOf(both.sheet, "tcp_open_connections", ""), 10);
  assert.is(valueOf(both.sheet, "inbound_http_errors_total", 'error="own"'), 1);
  assert.is(both.mtlsConnections, 3);
  assert.equal(both.endpoints.map((e) => [e.addr, e.pending, e.state]), [
    ["10.0.0.1:80", 3, "ejected"],
  ]);
  assert.equal(both.filterStats.map((s) => [s.calls, s.nsPerCall, s.lastError]), [[3, 500, "e2"]]);
  assert.equal(both.filterSeries.map((s) => [s.metric.name, s.values[0]]), [
    ["denied_total", 3],
    ["waiting", 3],
  ]);
  threads[1]!.die("boom");
  const after = await one.report();
  assert.is(valueOf(after.sheet, "request_total", 'direction="outbound"'), 2);
  assert.is(valueOf(after.sheet, "tcp_open_connections", ""), 5);
  assert.is(after.mtlsConnections, 3);
  assert.equal(after.endpoints.map((e) => [e.addr, e.pending, e.state]), [
    ["10.0.0.1:80", 1, "ready"],
  ]);
  assert.equal(after.filterSeries.map((s) => [s.metric.name, s.values[0]]), [
    ["denied_total", 3],
    ["waiting", 1],
  ]);
});

test("a worker that does not report holds a scrape up for a second, and its last report counts", async () => {
  const { fleet: one, threads, clock } = fleet(1);
  threads[0]!.on = (message) => {
    if (message.type === "report" && message.id === 1) threads[0]!.say(report(1, 4));
  };
  assert.is((await one.report()).mtlsConnections, 4);
  const late = one.report();
  await settle();
  clock.advance(1000);
  assert.is((await late).mtlsConnections, 4);
});

test("an address that a worker cannot have ends the start with its line", async () => {
  const { fleet: one, threads } = fleet(2);
  threads[1]!.on = (message) => {
    if (message.type === "listen") threads[1]!.say({ type: "deaf", why: "Listen on x failed" });
  };
  const seen = watchPromise(one.listen());
  await settle();
  assert.is((seen.error as Error).message, "Listen on x failed");
});

test("a worker that does not even begin ends the start with the reason", async () => {
  const { fleet: one, threads } = fleet(2);
  threads[1]!.die("no right to read worker.ts");
  const seen = watchPromise(one.listen());
  await settle();
  assert.is((seen.error as Error).message, "worker 2 does not start: no right to read worker.ts");
});

test("a worker that ended once it had begun does not end the start", async () => {
  const { fleet: one, threads, clock, metrics } = fleet(2);
  await settle();
  threads[1]!.die("boom");
  assert.equal(await one.listen(), [{ ip: "127.0.0.1", port: 4140 }]);
  assert.is(valueOf(metrics.sheet, "worker_threads_serving", ""), 1);
  clock.advance(100);
  await settle();
  assert.equal(types(threads[2]), ["listen"]);
  assert.is(valueOf(metrics.sheet, "worker_threads_serving", ""), 2);
});

test("a drain waits for all workers, no longer than its bound, and then every one ends", async () => {
  const { fleet: one, threads, clock } = fleet(3);
  await one.listen();
  threads[2]!.on = () => {}; // it neither drains nor leaves
  const drained = watchPromise(one.drain(5000));
  await settle();
  for (const t of threads) assert.equal(t.got.at(-1), { type: "drain", graceMs: 5000 });
  assert.is(one.isDraining, true);
  clock.advance(5999);
  await settle();
  assert.is(drained.state, "waiting");
  clock.advance(1);
  await settle();
  assert.is(drained.state, "done");
  const closed = watchPromise(one.close());
  await settle();
  assert.is(closed.state, "waiting");
  clock.advance(1000);
  await settle();
  assert.equal(threads.map((t) => t.isEnded), [true, true, true]);
  assert.is(closed.state, "done");
  assert.is(threads.length, 3);
  assert.is(clock.pending, 0);
});

test("the log level is every worker's, also of those that begin later", () => {
  const { fleet: one, threads, clock } = fleet(2);
  one.logLevel("warn");
  for (const t of threads) assert.equal(t.got, [{ type: "log", level: "warn" }]);
  threads[0]!.die("boom");
  clock.advance(100);
  assert.is(threads[2]?.start.log.level, "warn");
});

function valueOf(sheet: Sheet, family: string, labels: string): number {
  const series = sheet.families.get(family)?.series.get(labels);
  return series === undefined ? NaN : sheet.cells[series.cell] as number;
}

/** A report in which everything is `n`. */
function report(id: number, n: number): FromWorker {
  const metric = (name: string, kind: "counter" | "gauge") => ({
    metric: { name, kind, help: "", labels: [], bounds: [] },
    labels: { filter: "f" },
    values: [n],
  });
  return {
    type: "report",
    id,
    report: {
      mtlsConnections: n,
      plaintextConnections: 0,
      endpoints: [{
        authority: "web",
        addr: "10.0.0.1:80",
        weight: 10_000,
        ewmaMs: n,
        pending: n,
        state: n === 1 ? "ready" : "ejected",
      }],
      filterStats: [{
        name: "f",
        sha256: "00",
        calls: n,
        nsPerCall: n === 1 ? 100 : 700,
        traps: 0,
        fuelExhausted: 0,
        overBudget: 0,
        lastError: n === 1 ? "" : `e${n}`,
      }],
      filterSeries: [metric("denied_total", "counter"), metric("waiting", "gauge")],
      exemplars: [],
    },
  };
}

test.run();
