// Requests over HTTP/2 to endpoints that cannot be connected to: they wait for one that can, within
// their bounds, by a clock that the test turns.

import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type FilterChain,
  HOOK_OUTCOME,
  NO_FILTERS,
  OUTCOME_CONNECT,
} from "../../../src/core/filter.ts";
import { DATA, END_STREAM, HEADERS } from "../../../src/proxy/http2/frames.ts";
import { turn } from "../../support/memory-driver.ts";
import { A, B, endpoint, limiting, route, snapshot } from "../../support/outbound-fixture.ts";
import { seeded } from "../../support/random.ts";
import { body } from "../http2/raw-peer.ts";
import { REFUSED, waitFixture } from "./http2-wait-fixture.ts";

const one = snapshot({ exists: true, endpoints: [endpoint(A)] });
const two = snapshot({ exists: true, endpoints: [endpoint(A), endpoint(B)] });

test("a request to a lone endpoint that refuses waits, and is sent once it listens", async () => {
  const f = waitFixture(one);
  const stream = f.ask("hel", false);
  f.refuse(0);
  await turn();
  f.h2.data(stream, "lo", true);
  f.driver.advance(60);
  assert.is(f.dials(), 1, "not before the back-off");
  f.driver.advance(100);
  assert.is(f.dials(), 2, "and once after it");
  assert.is(f.ended(stream), undefined);
  const peer = f.accept(1);
  f.driver.advance(32);
  await turn();
  const got = f.got(peer);
  assert.is(got.find((g) => g.type === HEADERS)?.fields[":path"], "/a");
  assert.is(body(got, 1), "hello");
  f.answer(peer, 1);
  await turn();
  assert.equal(f.ended(stream), { status: "200", why: "", body: "ok" });
  assert.is(f.metric("outbound_http_balancer_queue_requests_total"), 1);
});

test("requests with bodies that came while nobody could be dialled arrive whole, to their end", async () => {
  const f = waitFixture(one);
  const streams = [f.ask("a", false), f.ask("b", false)];
  f.refuse(0);
  await turn();
  streams.push(f.ask("c", false), f.ask("d"));
  await turn();
  f.h2.data(streams[0]!, "-end", true).data(streams[2]!, "-end", true);
  f.driver.advance(150);
  const peer = f.accept(1);
  f.driver.advance(32);
  f.h2.data(streams[1]!, "-late", true);
  await turn();
  const got = f.got(peer);
  assert.equal([1, 3, 5, 7].map((id) => body(got, id)), ["a-end", "b-late", "c-end", "d"]);
  const ends = got.filter((g) => g.type === DATA && (g.flags & END_STREAM) !== 0);
  assert.equal(ends.map((g) => g.stream).sort(), [1, 3, 5, 7]);
});

test("all that wait share one dial at a time, with its back-off, and fail together in time", async () => {
  const f = waitFixture(one);
  const streams = [f.ask(), f.ask(), f.ask("x"), f.ask()];
  const dialled: number[] = [];
  for (let ms = 0; ms < 2900; ms += 16) {
    for (; dialled.length < f.dials(); dialled.push(f.driver.now)) f.refuse(dialled.length);
    f.driver.advance(16);
  }
  await turn();
  // 100 ms, doubled each time, with a tenth of jitter and the ticks of the clock.
  assert.ok(dialled.length === 5 || dialled.length === 6, dialled.join());
  for (let i = 1; i < dialled.length; i++) {
    const ms = dialled[i]! - dialled[i - 1]!;
    const want = 100 * 2 ** (i - 1);
    assert.ok(ms >= 0.9 * want && ms <= 1.1 * want + 64, `${ms} ms instead of ${want}`);
  }
  assert.is(f.metric("outbound_http_balancer_queue_length"), 4);
  for (const stream of streams) assert.is(f.ended(stream), undefined);
  f.driver.advance(200);
  await turn();
  const why =
    /^No endpoint of web\.shop.*:80 can be connected to: Connect to 127\.77\.0\.2:8080 failed: ECONNREFUSED \(waited 3000 ms\)$/;
  for (const stream of streams) {
    assert.is(f.ended(stream)?.status, "504");
    assert.match(f.ended(stream)!.why, why);
  }
  assert.is(f.metric("outbound_http_balancer_queue_gate_shut_total"), 1);
  assert.is(f.metric("outbound_http_balancer_queue_length"), 0);
  assert.is(f.metric('outbound_http_errors_total{error="failfast"}'), 4);
});

test("past its time requests fail at once, until a connection is there again", async () => {
  const f = waitFixture(one);
  f.ask();
  f.refuse(0);
  for (let refused = 1; f.driver.now < 3100;) {
    f.driver.advance(16);
    for (; refused < f.dials(); refused++) f.refuse(refused);
  }
  const dials = f.dials();
  f.reconnect();
  const late = f.ask();
  await turn();
  assert.is(f.ended(late)?.status, "504");
  assert.is(f.dials(), dials, "it does not dial");
  while (f.dials() === dials) f.driver.advance(16); // nobody waits, and it is dialled all the same
  const peer = f.accept(dials);
  f.driver.advance(32);
  assert.is(f.metric("outbound_http_balancer_queue_gate_open_total"), 1);
  f.reconnect();
  const next = f.ask();
  f.answer(peer, 1);
  await turn();
  assert.is(f.ended(next)?.status, "200");
});

test("a connection that is not answered at all is no reason to wait longer", async () => {
  const f = waitFixture(one);
  const stream = f.ask();
  f.driver.advance(2900);
  assert.is(f.ended(stream), undefined);
  f.driver.advance(150);
  await turn();
  assert.is(f.ended(stream)?.status, "504");
});

test("what waits is bounded; more are refused", async () => {
  const f = waitFixture(one, { queueCapacity: 3 });
  const streams = [f.ask(), f.ask(), f.ask()];
  f.refuse(0);
  await turn();
  const more = f.ask();
  await turn();
  assert.is(f.ended(more)?.status, "503");
  assert.match(
    f.ended(more)!.why,
    /^3 requests wait already: No endpoint of web\.shop.* can be connected to$/,
  );
  f.h2.rst(streams[0]!);
  const fits = f.ask();
  await turn();
  assert.is(f.ended(fits), undefined);
});

test("who leaves waits no more, and when nobody waits nobody dials", async () => {
  const f = waitFixture(one);
  const streams = [f.ask(), f.ask("some", false)];
  f.refuse(0);
  await turn();
  const [target] = [...f.targets.all()];
  assert.is(target!.queueOf(null).size, 2);
  for (const stream of streams) f.h2.rst(stream);
  await turn();
  assert.is(target!.queueOf(null).size, 0);
  f.driver.advance(4000);
  assert.is(f.dials(), 1);
  assert.is(target!.active, 0);
  assert.is(target!.queueOf(null).isShut, false);
});

test("the time-outs of its route end a request that waits", async () => {
  for (const limits of [{ headMs: 500 }, { requestMs: 500 }]) {
    const chain = limiting(limits);
    const f = waitFixture({ ...one, routes: [{ route: route(), chain }] });
    const stream = f.ask();
    f.refuse(0);
    f.driver.advance(400);
    assert.is(f.ended(stream), undefined);
    f.driver.advance(150);
    await turn();
    assert.is(f.ended(stream)?.status, "504");
    assert.match(f.ended(stream)!.why, /^No response on route default within 500 ms$/);
    assert.is([...f.targets.all()][0]!.queueOf(null).size, 0);
  }
});

test("a proxy that drains serves what waits, or tells it in time", async () => {
  for (const comes of [true, false]) {
    const f = waitFixture(one);
    const stream = f.ask();
    f.refuse(0);
    f.draining.active = true;
    f.driver.advance(200);
    if (comes) {
      const peer = f.accept(1);
      f.driver.advance(32);
      f.answer(peer, 1);
    } else f.driver.advance(3000);
    await turn();
    assert.is(f.ended(stream)?.status, comes ? "200" : "504");
  }
});

test("of several endpoints that refuse, the first that listens has all that wait", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seeded(seed);
    const f = waitFixture(two);
    const streams = Array.from({ length: 5 }, () => f.ask());
    const back = random() < 0.5 ? A.ip : B.ip;
    const atMs = Math.floor(random() * 1200);
    let peer = null;
    for (let i = 0; peer === null; f.driver.advance(16)) {
      for (; i < f.dials() && peer === null; i++) {
        if (f.up(i).to?.addr.ip === back && f.driver.now >= atMs) peer = f.accept(i);
        else f.refuse(i);
      }
      assert.ok(f.driver.now < 3000, `seed ${seed}: nobody dialled ${back}`);
    }
    f.driver.advance(32);
    await turn();
    const heads = f.got(peer).filter((g) => g.type === HEADERS);
    assert.is(heads.length, 5, `seed ${seed}`);
    for (const { stream } of heads) f.answer(peer, stream);
    await turn();
    for (const stream of streams) assert.is(f.ended(stream)?.status, "200", `seed ${seed}`);
  }
});

test("an endpoint that comes to the set is dialled for those that wait", async () => {
  const f = waitFixture(one);
  const stream = f.ask();
  f.refuse(0);
  f.discovery.set(two);
  f.driver.advance(32);
  assert.is(f.dials(), 2);
  assert.is(f.up(1).to?.addr.ip, B.ip);
  const peer = f.accept(1);
  f.driver.advance(32);
  f.answer(peer, 1);
  await turn();
  assert.is(f.ended(stream)?.status, "200");
});

test("HTTP/1 to the same endpoint does not wait: 502 at once", async () => {
  const f = waitFixture(one);
  const client = f.client();
  f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
  f.refuse(0);
  await turn();
  assert.match(client.take(), /^HTTP\/1\.1 502 [^]*Connect to 127\.77\.0\.2:8080 failed/);
});

test("HTTP/1 to a meshed endpoint travels over HTTP/2, and waits as that does", async () => {
  const meshed = endpoint(A, {
    hint: "h2",
    identity: { name: "web.shop", serverName: "web.shop" },
  });
  const f = waitFixture(snapshot({ exists: true, endpoints: [meshed] }));
  const client = f.client();
  f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
  f.driver.fail(f.up(0), { kind: "identity", message: "another certificate" });
  await turn();
  assert.is(client.take(), "");
  f.driver.advance(150);
  const peer = f.accept(1);
  f.driver.advance(32);
  f.answer(peer, 1);
  await turn();
  assert.match(client.take(), /^HTTP\/1\.1 200 [^]*ok/);
});

test("a long body stops at its bound while it waits, and arrives whole", async () => {
  const f = waitFixture(one);
  const stream = f.ask("", false);
  f.refuse(0);
  const piece = "0123456789abcdef".repeat(1000);
  for (let i = 0; i < 4; i++) f.h2.data(stream, piece);
  await turn();
  f.driver.advance(150);
  const peer = f.accept(1);
  f.driver.advance(32);
  await turn();
  f.h2.data(stream, "end", true);
  await turn();
  const got = f.got(peer).filter((g) => g.type === DATA);
  assert.is(body(got, 1), piece.repeat(4) + "end");
});

/** The first of two backends, each with an endpoint, while that is available. */
function twoBackends() {
  const [BLUE, GREEN] = ["blue.shop.svc.cluster.local:80", "green.shop.svc.cluster.local:80"];
  const split = {
    pick: "first" as const,
    backends: [{ authority: BLUE!, weight: 1 }, { authority: GREEN!, weight: 1 }],
  };
  return {
    split,
    endpoints: [endpoint(A, { backend: BLUE! }), endpoint(B, { backend: GREEN! })],
  };
}

test("the other backend of a split serves while the first cannot be connected to", async () => {
  const { split, endpoints } = twoBackends();
  const routes = [{ route: route({ split }), chain: NO_FILTERS }];
  const f = waitFixture(snapshot({ exists: true, endpoints }, routes));
  const early = f.ask();
  for (let i = 0; f.driver.now < 3100; f.driver.advance(16)) {
    for (; i < f.dials(); i++) f.refuse(i);
  }
  await turn();
  assert.is(f.ended(early)?.status, "504");
  f.reconnect();
  const stream = f.ask();
  const green = f.driver.connects.findIndex((c) => c.to?.addr.ip === B.ip);
  assert.ok(green > 0, "it went to the other");
  const peer = f.accept(green);
  f.answer(peer, 1);
  await turn();
  assert.is(f.ended(stream)?.status, "200");
});

test("a filter hears of a wait in vain, and its retry goes to the other backend", async () => {
  const { split, endpoints } = twoBackends();
  const heard: number[] = [];
  const retrying: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_OUTCOME,
    attemptOutcome: (_x, { error }) => {
      heard.push(error);
      return error === 0 ? -1 : 0;
    },
  };
  const routes = [{ route: route({ split }), chain: retrying }];
  const f = waitFixture(snapshot({ exists: true, endpoints }, routes));
  const stream = f.ask("body");
  const toOther = () => f.driver.connects.findIndex((c) => c.to?.addr.ip === B.ip);
  for (let i = 0; toOther() < 0; f.driver.advance(16)) {
    for (; i < f.dials() && toOther() < 0; i++) f.refuse(i);
    assert.ok(f.driver.now < 4000, "it goes to the other");
  }
  const peer = f.accept(toOther());
  assert.is(body(f.got(peer), 1), "body");
  f.answer(peer, 1);
  await turn();
  assert.is(f.ended(stream)?.status, "200");
  assert.equal(heard, [OUTCOME_CONNECT, 0]);
});

test("whatever happens to connections, each request ends once and nothing stays behind", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seeded(seed);
    const f = waitFixture(two, { queueCapacity: 6 });
    const streams: number[] = [];
    const left = new Set<number>();
    let seen = 0;
    const peers: ReturnType<typeof f.accept>[] = [];
    for (let step = 0; step < 120; step++) {
      const dice = random();
      if (dice < 0.25 && step < 100) streams.push(f.ask(random() < 0.5 ? null : "body"));
      else if (dice < 0.3 && streams.length > 0) {
        const stream = streams[Math.floor(random() * streams.length)]!;
        if (f.ended(stream) === undefined) {
          left.add(stream);
          f.h2.rst(stream);
        }
      } else if (dice < 0.5 && seen < f.dials()) {
        if (random() < 0.6) f.driver.fail(f.up(seen++), REFUSED);
        else peers.push(f.accept(seen++));
      } else if (dice < 0.6 && peers.length > 0) {
        const peer = peers.splice(Math.floor(random() * peers.length), 1)[0]!;
        f.driver.fail(peer.peer, { kind: "reset", message: "ECONNRESET" });
      } else if (dice < 0.8) {
        for (const peer of peers) {
          for (const g of f.got(peer)) if (g.type === HEADERS) f.answer(peer, g.stream);
        }
      } else f.driver.advance(Math.floor(random() * 400));
      await turn();
    }
    for (let i = 0; i < 400; i++) {
      for (; seen < f.dials(); seen++) f.refuse(seen);
      for (const peer of peers) {
        for (const g of f.got(peer)) if (g.type === HEADERS) f.answer(peer, g.stream);
      }
      f.driver.advance(16);
      await turn();
    }
    for (const stream of streams) {
      if (!left.has(stream)) assert.ok(f.ended(stream), `seed ${seed}: stream ${stream} hangs`);
    }
    const [target] = [...f.targets.all()];
    if (target === undefined) continue;
    assert.is(target.active, 0, `seed ${seed}`);
    assert.is(target.queueOf(null).size, 0, `seed ${seed}`);
    for (const e of target.endpoints) assert.is(e.ewma.pending, 0, `seed ${seed}`);
  }
});

test.run();
