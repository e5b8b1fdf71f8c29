import { test } from "uvu";
import * as assert from "uvu/assert";
import { SILENT } from "../../../src/core/log.ts";
import { Live } from "../../../src/control/admin/live.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import {
  digest,
  endpoint,
  FakeProxies,
  FakeState,
  filter,
  NO_STATS,
  outbound,
  pod,
  service,
} from "./fixture.ts";

interface Event {
  readonly id: number;
  readonly type: string;
  // deno-lint-ignore no-explicit-any -- read by the tests as what each of them expects
  readonly data: any;
}

/** Reads what is there, without waiting for more. */
function follow(stream: ReadableStream<Uint8Array> | null) {
  assert.ok(stream !== null);
  const reader = (stream as ReadableStream<Uint8Array>).getReader();
  const events: Event[] = [];
  let comments = 0;
  const done = (async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      for (const block of new TextDecoder().decode(value).split("\n\n")) {
        if (block.startsWith(":")) comments++;
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
        const type = field("event");
        if (type === undefined) continue;
        events.push({ id: Number(field("id") ?? 0), type, data: JSON.parse(field("data") ?? "") });
      }
    }
  })();
  return {
    events,
    done,
    comments: () => comments,
    of: (t: string) => events.filter((e) => e.type === t),
  };
}

function setUp() {
  const state = new FakeState();
  const clock = new FakeClock();
  const http = new FakeProxies();
  state.podList = [pod("load-0", "127.1.0.1", "load")];
  state.serviceList = [service("web", [endpoint("127.1.0.2:8080", "web-0")])];
  state.filterList = [filter("retry", "a", "ab")];
  const live = new Live({ state, http, clock, log: SILENT, events: { firstId: 0 } });
  const say = (metrics: string, sha = "a", lastError = "") =>
    http.at.set("127.1.0.1:4191", {
      metrics,
      stats: {
        ...NO_STATS,
        filters: [{
          name: "retry",
          sha256: digest(sha),
          calls: 1,
          nsPerCall: 1,
          traps: lastError === "" ? 0 : 1,
          fuelExhausted: 0,
          lastError,
          state: "ready",
        }],
      },
    });
  say(outbound("web", { ok: 0 }));
  return { state, clock, http, live, say };
}

test("a snapshot is sent each second, with what was counted in between", async () => {
  const { clock, live, say } = setUp();
  const stop = live.start();
  await settle();
  const { of, done } = follow(live.events(0));
  for (let s = 1; s <= 3; s++) {
    say(outbound("web", { ok: s * 20 }));
    await clock.advanceAsync(1000);
  }
  stop();
  await done;
  const rps = of("snapshot").map(({ data }) => data.services[0].golden.rps);
  assert.equal(rps, [0, 20, 20, 20]);
  assert.is(clock.pending, 0);
});

test("a stream that begins later gets the history that it missed", async () => {
  const { clock, live, say } = setUp();
  const stop = live.start();
  await settle();
  for (let s = 1; s <= 3; s++) {
    say(outbound("web", { ok: s * 20 }));
    await clock.advanceAsync(1000);
  }
  const { of, done } = follow(live.events(0));
  stop();
  await done;
  const { stepMs, services } = of("history")[0]?.data;
  assert.equal([stepMs, services["shop/web"].rps], [1000, [0, 20, 20, 20]]);
  assert.equal(services["shop/web"].successRate, [null, 1, 1, 1]);
});

test("changes of the state are told within 20 ms and together", async () => {
  const { state, clock, live } = setUp();
  const stop = live.start();
  await settle();
  const { events, of, done } = follow(live.events(0));
  state.serviceList = [service("web", [])];
  state.touch();
  state.filterList = [filter("retry", "b", "ab")];
  state.problemList = [{ source: "shop.yaml:3", message: "not YAML" }];
  state.touch();
  await clock.advanceAsync(20);
  await settle();
  assert.equal(of("endpoints").map(({ data }) => data.removed), [["127.1.0.2:8080"]]);
  assert.equal(of("swap").map(({ data }) => [data.proxy, data.to]), [[null, digest("b")]]);
  assert.equal(of("failure").map(({ data }) => data.source), ["shop.yaml:3"]);
  assert.equal(events.filter(({ id }) => id > 0).map(({ id }) => id), [1, 2, 3]);
  stop();
  await done;
});

test("a proxy's swap, its trap and its absence are told once each", async () => {
  const { clock, http, live, say } = setUp();
  const stop = live.start();
  await settle();
  const { of, done } = follow(live.events(0));
  say(outbound("web", { ok: 0 }), "b");
  await clock.advanceAsync(2000);
  say(outbound("web", { ok: 0 }), "b", "unreachable executed");
  await clock.advanceAsync(2000);
  http.at.clear();
  await clock.advanceAsync(2000);
  stop();
  await done;
  assert.equal(of("swap").map(({ data }) => [data.proxy, data.from, data.to]), [
    ["shop/load-0", digest("a"), digest("b")],
  ]);
  assert.equal(of("failure").map(({ data }) => data.source), [
    "filter retry in shop/load-0",
    "proxy shop/load-0",
  ]);
});

test("a client that comes back gets the events after the last that it saw", async () => {
  const { state, clock, live } = setUp();
  const stop = live.start();
  await settle();
  for (const c of "bab") {
    state.filterList = [filter("retry", c, "ab")];
    state.touch();
    await clock.advanceAsync(20);
  }
  const { of, done } = follow(live.events(2));
  stop();
  await done;
  assert.equal(of("swap").map(({ id }) => id), [3]);
});

test("a heartbeat is sent while a scrape hangs", async () => {
  const { state, clock } = setUp();
  const http = { request: () => new Promise<never>(() => {}) };
  const live = new Live({ state, http, clock, log: SILENT });
  const stop = live.start();
  const { comments, done } = follow(live.events(0));
  await clock.advanceAsync(31_000);
  assert.is(comments(), 2);
  stop();
  await done;
});

test("stop() ends streams, timers and the subscription", async () => {
  const { state, clock, live } = setUp();
  const stop = live.start();
  await settle();
  const { done } = follow(live.events(0));
  state.touch();
  stop();
  await done;
  assert.equal([clock.pending, state.listeners, live.counts.eventStreams], [0, 0, 0]);
});

test("a state that throws is logged and does not end the loop", async () => {
  const { state, clock, live } = setUp();
  const stop = live.start();
  await settle();
  const { of, done } = follow(live.events(0));
  const services = state.services;
  state.services = () => {
    throw new Error("half-read");
  };
  state.touch();
  await clock.advanceAsync(1000);
  state.services = services;
  await clock.advanceAsync(1000);
  stop();
  await done;
  assert.is(of("snapshot").length, 2);
});

test.run();
