// One observer of several workers: it sees what each of them serves, as often as it wanted, and ends.

import { test } from "uvu";
import * as assert from "uvu/assert";
import type { TapRequest } from "../../../src/api/tap.ts";
import type { TapEvent, TapSubject } from "../../../src/model/tap.ts";
import { TapHub } from "../../../src/proxy/tap/hub.ts";
import type { FromWorker, ToWorker } from "../../../src/proxy/workers/protocol.ts";
import { TapRelay, WorkerTap } from "../../../src/proxy/workers/tap-relay.ts";
import { MemoryDriver } from "../../support/memory-driver.ts";

const ALL: TapRequest = { limit: 3, headers: false, match: { kind: "all", of: [] } };
const SUBJECT: TapSubject = {
  direction: "inbound",
  source: { ip: "10.0.0.1", port: 1 },
  destination: { ip: "10.0.0.2", port: 2 },
  sourceLabels: {},
  destinationLabels: {},
  routeLabels: {},
  method: "GET",
  scheme: "http",
  authority: "web",
  path: "/",
};

/** Two workers and the main thread between which messages are clones. */
function setUp() {
  const driver = new MemoryDriver();
  const hub = new TapHub();
  const workers = [new TapHub(), new TapHub()];
  const relay = new TapRelay(hub, (m) => sides.forEach((side) => say(side, m)));
  const sides = workers.map((of, i) =>
    new WorkerTap(of, driver, (m: FromWorker) => {
      const clone = structuredClone(m);
      if (clone.type === "tapped") relay.events(i + 1, clone.id, clone.events);
    })
  );
  const say = (side: WorkerTap, m: ToWorker) => {
    const clone = structuredClone(m);
    if (clone.type === "tap") side.tap(clone.id, clone.request);
    if (clone.type === "untap") side.untap(clone.id);
  };
  /** A request in a worker; returns what ends it. */
  const serve = (n: number, subject = SUBJECT) => {
    const of = workers[n] as TapHub;
    const seen = of.wanting(subject);
    const stream = of.nextStream();
    const tell = (event: TapEvent["event"]) =>
      seen.forEach((o) => o.push({ id: { base: o.base, stream }, subject, event }));
    seen.forEach((o) => o.began());
    tell({ kind: "request", fields: null });
    return () => {
      tell({ kind: "end", sinceRequestMs: 1, sinceResponseMs: 1, eos: null, trailers: null });
      seen.forEach((o) => o.ended());
    };
  };
  return { driver, hub, workers, relay, serve };
}

test("requests of every worker are seen, up to the limit, and then no worker looks any more", () => {
  const s = setUp();
  const observer = s.hub.observe(ALL);
  if (observer === null) throw new Error("no observer");
  assert.equal(s.workers.map((w) => w.active), [1, 1]);
  const ends = [0, 1, 1, 0].map((n) => s.serve(n));
  s.driver.advance(50);
  assert.equal(s.workers.map((w) => w.active), [0, 0]);
  ends.forEach((end) => end());
  s.driver.advance(50);
  const events: TapEvent[] = [];
  for (let e = observer.take(); e !== null; e = observer.take()) events.push(e);
  const streams = new Set(events.map((e) => e.id.stream));
  assert.is(streams.size, 3);
  assert.equal(events.map((e) => e.event.kind).sort(), [
    ...["end", "end", "end", "request", "request", "request"],
  ]);
  assert.is(observer.done, true);
  assert.equal([...s.relay.all()], []);
});

test("a worker that begins is told who looks, one that ends keeps nobody waiting", () => {
  const s = setUp();
  const observer = s.hub.observe({ ...ALL, limit: 1 });
  if (observer === null) throw new Error("no observer");
  assert.equal([...s.relay.all()], [{ type: "tap", id: 1, request: { ...ALL, limit: 1 } }]);
  s.serve(0);
  s.driver.advance(50);
  assert.is(observer.done, false);
  s.relay.gone(1);
  assert.is(observer.done, true);
});

test("an observer that leaves is forgotten by all", () => {
  const s = setUp();
  const observer = s.hub.observe(ALL);
  const end = s.serve(0);
  s.driver.advance(50);
  observer?.close();
  assert.equal(s.workers.map((w) => w.active), [0, 0]);
  end();
  s.driver.advance(50);
  assert.equal([...s.relay.all()], []);
  assert.is(observer?.take(), null);
});

test.run();
