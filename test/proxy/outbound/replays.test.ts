// Requests that an endpoint did not process go to another that is ready, and stay where there is none.
// What may be sent again at all is in `keep-alive-race.test.ts` and `http2/endpoint-client.test.ts`.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { CONTINUE, type FilterChain, HOOK_REQUEST, NO_FILTERS } from "../../../src/core/filter.ts";
import type { OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import {
  GOAWAY,
  HEADERS,
  NO_ERROR,
  REFUSED_STREAM,
  RST_STREAM,
} from "../../../src/proxy/http2/frames.ts";
import { turn } from "../../support/memory-driver.ts";
import {
  A,
  B,
  endpoint,
  outboundFixture,
  route,
  snapshot,
} from "../../support/outbound-fixture.ts";
import { seeded } from "../../support/random.ts";
import { body, codeOf, frame, type RawPeer, u32 } from "../http2/raw-peer.ts";
import { waitFixture } from "./http2-wait-fixture.ts";

const RESET = { kind: "reset", message: "ECONNRESET" } as const;
const two = snapshot({ exists: true, endpoints: [endpoint(A), endpoint(B)] });
const one = snapshot({ exists: true, endpoints: [endpoint(A)] });

/** Both endpoints are connected to, and every request so far is answered. */
async function connected(value: OutboundSnapshot = two) {
  const f = waitFixture(value);
  const peers = new Map<string, RawPeer>();
  const count = value.endpoints!.endpoints.length;
  /** Answers what any endpoint was asked. */
  const serve = () => {
    for (const peer of peers.values()) {
      for (const g of f.got(peer)) if (g.type === HEADERS) f.answer(peer, g.stream);
    }
  };
  for (let i = 0; peers.size < count; i++) {
    assert.ok(i < 200, "one endpoint is never picked");
    f.ask();
    const at = f.dials() - 1;
    const { ip } = f.up(at).to!.addr;
    if (!peers.has(ip)) peers.set(ip, f.accept(at));
    serve();
    f.driver.advance(16);
    await turn();
  }
  return {
    ...f,
    serve,
    peers,
    /** Connections that were decided. */
    taken: new Set<number>(),
    /** Asks; who has the request, with its stream there. */
    asked(text: string | null = null, end = true) {
      const stream = f.ask(text, end);
      const found = whoHas(f, peers);
      return { stream, ...found };
    },
    /** The same with a key. */
    askedBy(key: string) {
      const stream = f.ask(null, true, [["x-key", key]]);
      return { stream, ...whoHas(f, peers) };
    },
    whoHas: () => whoHas(f, peers),
  };
}

function whoHas(f: ReturnType<typeof waitFixture>, peers: Map<string, RawPeer>) {
  for (const [ip, peer] of peers) {
    const got = f.got(peer);
    const head = got.find((g) => g.type === HEADERS);
    if (head !== undefined) return { ip, peer, id: head.stream, got };
  }
  throw new Error("nobody has the request");
}

const other = (ip: string) => ip === A.ip ? B.ip : A.ip;
const goAway = (last: number) => frame(GOAWAY, 0, 0, [...u32(last), ...u32(NO_ERROR)]);

test("a refused stream goes to the other endpoint, whatever its method, whole", async () => {
  for (let i = 0; i < 10; i++) {
    const t = await connected();
    const { stream, ip, peer, id } = t.asked("some body");
    peer.rst(id, REFUSED_STREAM);
    const now = t.whoHas();
    assert.is(now.ip, other(ip));
    assert.is(body(now.got, now.id), "some body");
    t.answer(now.peer, now.id);
    await turn();
    assert.is(t.ended(stream)?.status, "200");
  }
});

test("what of its body comes after it moved follows it", async () => {
  const t = await connected();
  const { stream, peer, id } = t.asked("some ", false);
  peer.rst(id, REFUSED_STREAM);
  const now = t.whoHas();
  t.h2.data(stream, "body", true);
  await turn();
  assert.is(body(now.got, now.id) + body(t.got(now.peer), now.id), "some body");
  t.answer(now.peer, now.id);
  await turn();
  assert.is(t.ended(stream)?.status, "200");
});

test("a client that resets after its request moved resets it there", async () => {
  const t = await connected();
  const { stream, peer, id } = t.asked("some ", false);
  peer.rst(id, REFUSED_STREAM);
  const now = t.whoHas();
  t.h2.rst(stream);
  await turn();
  assert.ok(t.got(now.peer).some((g) => g.type === RST_STREAM && g.stream === now.id));
  for (const e of [...t.targets.all()][0]!.endpoints) assert.is(e.ewma.pending, 0);
});

test("streams above a GOAWAY's last one go to the other endpoint", async () => {
  const t = await connected();
  const { stream, ip, peer, id } = t.asked("x");
  peer.send(goAway(id - 2));
  await turn();
  const now = t.whoHas();
  assert.is(now.ip, other(ip));
  assert.is(t.dials(), 2, "nobody dials for it");
  t.answer(now.peer, now.id);
  await turn();
  assert.is(t.ended(stream)?.status, "200");
});

test("a connection that is lost sends its safe requests to the other endpoint, and others nowhere", async () => {
  const t = await connected();
  const safe = t.asked();
  t.driver.fail(safe.peer.peer, RESET);
  await turn();
  const now = t.whoHas();
  assert.is(now.ip, other(safe.ip));
  t.answer(now.peer, now.id);
  await turn();
  assert.is(t.ended(safe.stream)?.status, "200");
  const u = await connected();
  const unsafe = u.asked("x");
  u.driver.fail(unsafe.peer.peer, RESET);
  await turn();
  assert.is(u.ended(unsafe.stream)?.status, "502");
});

test("a lone endpoint is asked again, three times at most", async () => {
  const t = await connected(one);
  const { stream, peer, id } = t.asked("x");
  let at = id;
  for (let i = 0; i < 3; i++) {
    peer.rst(at, REFUSED_STREAM);
    at = t.whoHas().id;
  }
  peer.rst(at, REFUSED_STREAM);
  assert.throws(t.whoHas, /nobody/);
  await turn();
  assert.is(t.ended(stream)?.status, "reset");
});

test("where both refuse it is sent three times more, and the client is told", async () => {
  const t = await connected();
  const { stream, peer, id } = t.asked("x");
  let has = { peer, id };
  for (let i = 0; i < 3; i++) {
    has.peer.rst(has.id, REFUSED_STREAM);
    has = t.whoHas();
  }
  has.peer.rst(has.id, REFUSED_STREAM);
  await turn();
  const reset = t.h2.only(RST_STREAM).find((g) => g.stream === stream);
  assert.is(codeOf(reset), REFUSED_STREAM);
});

test("it stays where the other endpoint cannot be connected to", async () => {
  const t = await connected();
  const { stream, ip, peer, id } = t.asked("x");
  const away = t.peers.get(other(ip)) as RawPeer;
  t.driver.fail(away.peer, RESET);
  peer.rst(id, REFUSED_STREAM);
  const now = t.whoHas();
  assert.is(now.ip, ip);
  t.answer(now.peer, now.id);
  await turn();
  assert.is(t.ended(stream)?.status, "200");
});

test("a lone endpoint that restarts is waited for: GOAWAY, refused connections, served", async () => {
  const t = await connected(one);
  const { stream, peer, id } = t.asked("x");
  peer.send(goAway(id - 2));
  await turn();
  assert.is(t.dials(), 2);
  t.refuse(1);
  await turn();
  assert.is(t.ended(stream), undefined);
  t.driver.advance(150);
  const again = t.accept(2);
  t.driver.advance(32);
  const got = t.got(again);
  assert.is(body(got, 1), "x");
  t.answer(again, 1);
  await turn();
  assert.is(t.ended(stream)?.status, "200");
});

test("it stays with the owner of its key", async () => {
  const hash = { kind: "header", name: "x-key" } as const;
  const t = await connected(two);
  t.discovery.set({ ...two, hash });
  t.driver.advance(16);
  const seen = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const { stream, ip, peer, id } = t.askedBy(`key ${i}`);
    peer.rst(id, REFUSED_STREAM);
    const now = t.whoHas();
    assert.is(now.ip, ip);
    t.answer(now.peer, now.id);
    await turn();
    assert.is(t.ended(stream)?.status, "200");
    seen.add(ip);
  }
  assert.is(seen.size, 2, "keys belong to both");
});

test("it stays where a filter chose the endpoint", async () => {
  const labels = { zone: "a" };
  const endpoints = [endpoint(A, { labels }), endpoint(B, { labels })];
  const chosen: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_REQUEST,
    requestHead(x) {
      x.choice = { label: "zone", value: "a", strict: true };
      return CONTINUE;
    },
  };
  const t = await connected(
    snapshot({ exists: true, endpoints }, [{ route: route(), chain: chosen }]),
  );
  const { ip, peer, id } = t.asked("x");
  peer.rst(id, REFUSED_STREAM);
  assert.is(t.whoHas().ip, ip);
});

test("HTTP/1: a kept connection that is lost sends its request to the other endpoint", async () => {
  const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
  const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
  for (const isAway of [false, true]) {
    const f = outboundFixture(two);
    const client = f.client();
    const up = (i: number) => f.driver.connects[i]!;
    f.driver.feed(client, GET);
    f.driver.open(up(0));
    f.driver.feed(up(0), OK);
    assert.match(client.take(), /200/);
    const first = up(0).to!.addr.ip;
    const [target] = [...f.targets.all()];
    if (isAway) target!.endpoints.find((e) => e.endpoint.addr.ip !== first)!.unreachable(null);
    up(0).take();
    f.driver.feed(client, GET);
    // Until the kept connection is taken: the other endpoint's do not stay.
    for (let i = 1; up(0).take() === ""; i++) {
      assert.ok(i < 100, "the kept connection is never taken");
      f.driver.open(up(i));
      f.driver.feed(up(i), OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
      f.driver.end(up(i));
      client.take();
      f.driver.feed(client, GET);
    }
    const before = f.driver.connects.length;
    f.driver.fail(up(0), RESET);
    await turn();
    const next = up(before);
    assert.is(next.to!.addr.ip, isAway ? first : other(first), `away: ${isAway}`);
    f.driver.open(next);
    assert.match(next.take(), /^GET \/a/);
    f.driver.feed(next, OK);
    assert.match(client.take(), /200[^]*ok$/);
  }
});

test("under any mix of refusals, GOAWAYs and losses every request ends once", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = seeded(seed);
    const t = await connected();
    const streams: number[] = [];
    for (let step = 0; step < 100; step++) {
      const dice = random();
      const ip = random() < 0.5 ? A.ip : B.ip;
      const peer = t.peers.get(ip) as RawPeer;
      const asked = t.got(peer).filter((g) => g.type === HEADERS);
      if (dice < 0.4) streams.push(t.ask(random() < 0.5 ? null : "body"));
      for (const { stream } of asked) {
        if (random() < 0.4) peer.rst(stream, REFUSED_STREAM);
        else t.answer(peer, stream);
      }
      if (dice > 0.9) peer.send(goAway(asked.at(-1)?.stream ?? 0x7fffffff));
      else if (dice > 0.85) t.driver.fail(peer.peer, RESET);
      for (let i = 2; i < t.dials(); i++) {
        if (t.taken.has(i)) continue;
        t.taken.add(i);
        t.peers.set(t.up(i).to!.addr.ip, t.accept(i));
      }
      t.driver.advance(16);
      await turn();
    }
    for (let i = 0; i < 30; i++) {
      t.serve();
      for (let k = 2; k < t.dials(); k++) {
        if (t.taken.has(k)) continue;
        t.taken.add(k);
        t.peers.set(t.up(k).to!.addr.ip, t.accept(k));
      }
      t.driver.advance(200);
      await turn();
    }
    for (const stream of streams) assert.ok(t.ended(stream), `seed ${seed}: ${stream} hangs`);
    const [target] = [...t.targets.all()];
    if (target === undefined) continue;
    assert.is(target.active, 0, `seed ${seed}`);
    for (const e of target.endpoints) assert.is(e.ewma.pending, 0, `seed ${seed}`);
  }
});

test.run();
