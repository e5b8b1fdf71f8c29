import { test } from "uvu";
import * as assert from "uvu/assert";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import type { RouteSplit } from "../../../src/model/route.ts";
import { variantOf } from "../../../src/proxy/outbound/split.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { seeded } from "../../support/random.ts";
import {
  A,
  B,
  endpoint,
  outboundFixture,
  route,
  snapshot,
} from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const BLUE = "blue.shop.svc.cluster.local:80";
const GREEN = "green.shop.svc.cluster.local:80";

const both = (pick: RouteSplit["pick"], blue: number, green: number): RouteSplit => ({
  pick,
  backends: [{ authority: BLUE, weight: blue }, { authority: GREEN, weight: green }],
});
const routesOf = (split: RouteSplit) => [{ route: route({ split }), chain: NO_FILTERS }];
const inBlue = endpoint(A, { backend: BLUE });
const inGreen = endpoint(B, { backend: GREEN });
const set = (...endpoints: readonly (typeof inBlue)[]) => ({ exists: true, endpoints });

function split(split: RouteSplit, ...endpoints: readonly (typeof inBlue)[]) {
  const f = outboundFixture(snapshot(set(...endpoints), routesOf(split)));
  return {
    ...f,
    /** One request on a connection of its own: the address that it went to, or its status. */
    ask(): string {
      const client = f.client();
      const before = f.driver.connects.length;
      f.driver.feed(client, GET);
      const up = f.driver.connects[before];
      if (up === undefined) return client.take().slice(9, 12);
      f.driver.open(up);
      f.driver.feed(up, OK);
      f.driver.end(up);
      assert.match(client.take(), /^HTTP\/1\.1 200 /);
      return up.to?.addr.ip ?? "";
    },
  };
}

test("requests go to backends by weight", () => {
  const f = split(both("random", 90, 10), inBlue, inGreen);
  let blue = 0;
  for (let i = 0; i < 2000; i++) if (f.ask() === A.ip) blue++;
  // The standard deviation is 13.4; five of them.
  assert.ok(Math.abs(blue - 1800) < 67, `${blue} of 2000`);
  const lines = exposition(f.metrics.sheet, []).split("\n");
  for (const [authority, count] of [[BLUE, blue], [GREEN, 2000 - blue]] as const) {
    const line = lines.find((l) =>
      l.startsWith("request_total") && l.includes(`authority="${authority}"`)
    );
    assert.is(Number(line?.split(" ").at(-1)), count, authority);
  }
});

test("a request is counted for where it went, whoever shared it out", () => {
  for (const parent of [undefined, null]) {
    const value = snapshot(set(inBlue, inGreen), routesOf(both("first", 1, 1)));
    const f = outboundFixture(parent === undefined ? value : { ...value, parent });
    f.driver.feed(f.client(), GET);
    const up = f.driver.connects[0]!;
    f.driver.open(up);
    f.driver.feed(up, OK);
    const lines = exposition(f.metrics.sheet, []).split("\n");
    assert.match(lines.find((l) => /^request_total.* 1$/.test(l)) ?? "", `authority="${BLUE}"`);
  }
});

test("a backend of weight 0 gets nothing", () => {
  const f = split(both("random", 0, 1), inBlue, inGreen);
  for (let i = 0; i < 100; i++) assert.is(f.ask(), B.ip);
});

test("a backend without an endpoint is passed over, until it has one", () => {
  const f = split(both("random", 1000, 1), inGreen);
  for (let i = 0; i < 50; i++) assert.is(f.ask(), B.ip);
  f.discovery.set(snapshot(set(inBlue, inGreen), routesOf(both("random", 1000, 1))));
  const seen = new Set<string>();
  for (let i = 0; i < 50; i++) seen.add(f.ask());
  assert.ok(seen.has(A.ip));
});

test("the first available backend takes everything", () => {
  const f = split(both("first", 1, 1), inBlue, inGreen);
  for (let i = 0; i < 20; i++) assert.is(f.ask(), A.ip);
  f.discovery.set(snapshot(set(inGreen), routesOf(both("first", 1, 1))));
  for (let i = 0; i < 20; i++) assert.is(f.ask(), B.ip);
});

test("a backend that leads nowhere fails its share", () => {
  const nowhere: RouteSplit = {
    pick: "random",
    backends: [{ authority: "", weight: 1 }, { authority: GREEN, weight: 1 }],
  };
  const f = split(nowhere, inGreen);
  let failed = 0;
  for (let i = 0; i < 400; i++) if (f.ask() === "502") failed++;
  assert.ok(failed > 130 && failed < 270, `${failed} of 400`);
});

test("one that the control plane says does not exist fails its share with 500", () => {
  const f = split({
    pick: "random",
    backends: [
      { authority: "", weight: 1, fails: "Service not found x" },
      { authority: GREEN, weight: 1 },
    ],
  }, inGreen);
  let failed = 0;
  for (let i = 0; i < 400; i++) if (f.ask() === "500") failed++;
  assert.ok(failed > 130 && failed < 270, `${failed} of 400`);
});

test("where backends have filters of their own, the route of the backend is taken, by weight", () => {
  const never = { kind: "any" as const, of: [] };
  const of = (authority: string) =>
    route({ match: never, split: { pick: "random", backends: [{ authority, weight: 3 }] } });
  const main = route({ split: both("random", 3, 1), variants: 2 });
  const f = outboundFixture(snapshot(
    set(inBlue, inGreen),
    [of(BLUE), of(GREEN), main].map((route) => ({ route, chain: NO_FILTERS })),
  ));
  f.driver.feed(f.client(), GET);
  const [target] = [...f.targets.all()];
  const [blue, green, whole] = target?.routes ?? [];
  assert.equal(whole?.variants, [blue, green]);
  let first = 0;
  const random = seeded(7);
  for (let i = 0; i < 400; i++) {
    const taken = variantOf(whole!, 0, random);
    assert.ok(taken === blue || taken === green);
    if (taken === blue) first++;
  }
  assert.ok(first > 250 && first < 350, `${first} of 400`);
  assert.is(variantOf(blue!, 0, random), blue, "a route without variants is its own");
});

test("without any other backend nothing is waited for", () => {
  const f = split({ pick: "random", backends: [{ authority: "", weight: 1, fails: "gone" }] });
  assert.is(f.ask(), "500");
});

test("an address that two backends share is one of each", () => {
  const f = split(both("random", 1, 1), inBlue, endpoint(A, { backend: GREEN }));
  for (let i = 0; i < 20; i++) assert.is(f.ask(), A.ip);
});

test("endpoints from before a split serve until its backends are known", () => {
  const f = split(both("random", 1, 1), endpoint(A));
  for (let i = 0; i < 20; i++) assert.is(f.ask(), A.ip);
});

test.run();
