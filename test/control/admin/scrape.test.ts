import { test } from "uvu";
import * as assert from "uvu/assert";
import { Scraper } from "../../../src/control/admin/scrape.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { FakeProxies, NO_STATS, outbound, pod } from "./fixture.ts";

const WEB = pod("web-0", "127.1.0.1", "web");
const VOTE = pod("vote-0", "127.1.0.2", "vote");

function setUp() {
  const clock = new FakeClock();
  const http = new FakeProxies();
  for (const { admin } of [WEB, VOTE]) {
    http.at.set(`${admin.ip}:4191`, { metrics: outbound("web", { ok: 1 }), stats: NO_STATS });
  }
  return { clock, http, scraper: new Scraper(http, clock) };
}

test("round() asks metrics and stats of every pod", async () => {
  const { http, scraper } = setUp();
  await scraper.round([WEB, VOTE]);
  assert.equal(http.asked.sort(), [
    "127.1.0.1:4191/metrics",
    "127.1.0.1:4191/tulle/stats.json",
    "127.1.0.2:4191/metrics",
    "127.1.0.2:4191/tulle/stats.json",
  ]);
  assert.equal([...scraper.proxies.values()].map(({ state }) => state), ["up", "up"]);
  assert.equal(scraper.counts, { succeeded: 2, failed: 0 });
});

test("a proxy that never answered is starting, one that stopped is away with its last figures", async () => {
  const { clock, http, scraper } = setUp();
  http.at.delete("127.1.0.2:4191");
  await scraper.round([WEB, VOTE]);
  assert.is(scraper.proxies.get("shop/vote-0")?.state, "starting");
  assert.match(scraper.proxies.get("shop/vote-0")?.why ?? "", "the connection was refused");
  clock.advance(1000);
  http.at.delete("127.1.0.1:4191");
  await scraper.round([WEB, VOTE]);
  const web = scraper.proxies.get("shop/web-0");
  assert.equal([web?.state, web?.seenMs, web?.stats], ["away", 0, NO_STATS]);
  http.at.set("127.1.0.1:4191", { metrics: "", stats: NO_STATS });
  await scraper.round([WEB, VOTE]);
  assert.equal([web?.pod, scraper.proxies.get("shop/web-0")?.state], [WEB, "up"]);
  assert.is(scraper.proxies.get("shop/web-0")?.why, "");
});

test("what a proxy says wrong is told in one line and holds up no other", async () => {
  const { http, scraper } = setUp();
  const cases: [object, RegExp][] = [
    [{ stats: "<html>" }, /^stats.json: not JSON: /],
    [
      { stats: JSON.stringify({ ...NO_STATS, filters: [{ name: 7 }] }) },
      /^stats.json: filters\[0\].name must be a string/,
    ],
    [{ metrics: "response_total lots" }, /^metrics: line 1 has no value/],
    [{ status: 403 }, /^GET http:\/\/127.1.0.1:4191\/\S+ answered 403$/],
  ];
  for (const [wrong, why] of cases) {
    http.at.set("127.1.0.1:4191", { metrics: "", stats: NO_STATS, ...wrong });
    await scraper.round([WEB, VOTE]);
    assert.match(scraper.proxies.get("shop/web-0")?.why ?? "", why);
    assert.not.match(scraper.proxies.get("shop/web-0")?.why ?? "", /\n/);
    assert.is(scraper.proxies.get("shop/vote-0")?.state, "up");
  }
});

test("a pod that is gone is forgotten, one that comes back starts anew", async () => {
  const { scraper } = setUp();
  await scraper.round([WEB, VOTE]);
  const before = scraper.proxies.get("shop/web-0")?.window;
  await scraper.round([VOTE]);
  assert.equal([...scraper.proxies.keys()], ["shop/vote-0"]);
  await scraper.round([WEB, VOTE]);
  assert.is.not(scraper.proxies.get("shop/web-0")?.window, before);
});

test("no more pods are asked at the same time than allowed", async () => {
  const clock = new FakeClock();
  const http = new FakeProxies();
  const scraper = new Scraper(http, clock, { parallel: 3 });
  const pods = Array.from({ length: 20 }, (_, i) => pod(`p-${i}`, `127.1.1.${i}`, "p"));
  await scraper.round(pods);
  assert.is(http.asked.length, 40);
  assert.ok(http.mostActive <= 6, `${http.mostActive} requests at once`);
  assert.is(scraper.proxies.size, 20);
});

test("a round that is under way is not joined by another", async () => {
  const { http, scraper } = setUp();
  await Promise.all([scraper.round([WEB]), scraper.round([WEB, VOTE])]);
  assert.is(http.asked.length, 2);
});

test("the client is given the time-out and the bounds", async () => {
  const seen: object[] = [];
  const http = {
    request: (what: { timeoutMs: number; maxBytes: number }) => {
      seen.push({ timeoutMs: what.timeoutMs, maxBytes: what.maxBytes });
      return Promise.reject(new Error("no"));
    },
  };
  await new Scraper(http, new FakeClock()).round([WEB]);
  assert.equal(seen, [
    { timeoutMs: 500, maxBytes: 4 * 1024 * 1024 },
    { timeoutMs: 500, maxBytes: 1024 * 1024 },
  ]);
});

test.run();
