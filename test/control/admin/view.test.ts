import { test } from "uvu";
import * as assert from "uvu/assert";
import { snapshot } from "../../../src/api/admin.ts";
import { Scraper } from "../../../src/control/admin/scrape.ts";
import { bounded, buildView } from "../../../src/control/admin/view.ts";
import { FakeClock } from "../../support/fake-clock.ts";
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

const LOAD = pod("load-0", "127.1.0.1", "load");
const WEB = pod("web-0", "127.1.0.2", "web");

function setUp() {
  const state = new FakeState();
  state.podList = [LOAD, WEB];
  state.serviceList = [
    service("web", [endpoint("127.1.0.2:8080", "web-0")]),
    service("vote", [endpoint("127.1.0.3:8080", "vote-0", false)]),
  ];
  const clock = new FakeClock();
  const http = new FakeProxies();
  const scraper = new Scraper(http, clock);
  const say = (of: typeof LOAD, metrics: string, stats = NO_STATS) =>
    http.at.set(`${of.ip}:4191`, { metrics, stats });
  say(LOAD, outbound("web", { ok: 0 }));
  say(WEB, outbound("vote", { ok: 0 }));
  const round = async () => {
    await scraper.round(state.podList);
    clock.advance(1000);
  };
  const view = () => buildView(state, scraper.proxies, clock.now(), clock.wall());
  return { state, http, say, round, view, scraper };
}

test("a view conforms to the schema", async () => {
  const { round, view, state } = setUp();
  state.filterList = [filter("retry", "a", "ab")];
  state.problemList = [{ source: "shop.yaml:3", message: "not YAML" }];
  await round();
  assert.equal(
    snapshot(JSON.parse(JSON.stringify(view())), ""),
    JSON.parse(JSON.stringify(view())),
  );
});

test("a service shows what its callers saw, an edge who they are", async () => {
  const { say, round, view } = setUp();
  await round();
  say(LOAD, outbound("web", { ok: 40, le: { 10: 40 } }));
  say(WEB, outbound("vote", { ok: 9, failed: 1 }));
  await round();
  const { services, edges } = view();
  assert.equal(services.map(({ id, golden }) => [id, golden.rps, golden.successRate]), [
    ["shop/web", 40, 1],
    ["shop/vote", 10, 0.9],
  ]);
  assert.equal(edges.map(({ from, to, rps, mtls }) => [from, to, rps, mtls]), [
    ["shop/load", "shop/web", 40, 1],
    ["shop/web", "shop/vote", 10, 1],
  ]);
});

test("without meshed callers a service shows what its own proxies answered", async () => {
  const { say, round, view } = setUp();
  const inbound = (n: number) =>
    `response_total{direction="inbound",classification="success",tls="no_identity"} ${n}\n` +
    `response_total{direction="inbound",classification="success",route_name="probe"} ${n * 9}\n`;
  say(LOAD, "");
  say(WEB, inbound(0));
  await round();
  say(WEB, inbound(5));
  await round();
  const web = view().services[0];
  assert.equal([web?.golden.rps, web?.mtls], [5, 0]);
  assert.equal(view().edges, []);
});

test("a service that nobody calls has no rates rather than good ones", async () => {
  const { round, view } = setUp();
  await round();
  assert.equal(view().services[1]?.golden, {
    rps: 0,
    successRate: null,
    actualSuccessRate: null,
    p50Ms: null,
    p95Ms: null,
    p99Ms: null,
  });
});

test("endpoints carry what each proxy that balances over them says", async () => {
  const { say, round, view } = setUp();
  say(LOAD, "", {
    ...NO_STATS,
    endpoints: [{
      authority: "web.shop.svc.cluster.local:8080",
      addr: "127.1.0.2:8080",
      weight: 10000,
      ewmaMs: 3.5,
      pending: 1,
      state: "ready",
    }],
  });
  await round();
  assert.equal(view().services[0]?.endpoints[0]?.loads, [
    { proxy: "shop/load-0", weight: 10000, ewmaMs: 3.5, pending: 1, state: "ready" },
  ]);
  assert.is(view().services[1]?.endpoints[0]?.ready, false);
});

test("a filter's mean time is weighted by calls, and only its own figures count", async () => {
  const { state, say, round, view } = setUp();
  state.filterList = [filter("retry", "a", "ab")];
  const run = (
    name: string,
    calls: number,
    nsPerCall: number,
    traps: number,
    state = "ready",
  ) => ({
    name,
    sha256: digest("a"),
    calls,
    nsPerCall,
    traps,
    fuelExhausted: 0,
    lastError: "",
    state,
  });
  say(LOAD, "", { ...NO_STATS, filters: [run("retry", 300, 1000, 1), run("other", 5, 5, 5)] });
  say(WEB, "", { ...NO_STATS, filters: [run("retry", 100, 2000, 0)] });
  await round();
  const [retry] = view().filters;
  assert.equal([retry?.calls, retry?.nsPerCall, retry?.traps], [400, 1250, 1]);
  assert.equal(retry?.running.map(({ proxy }) => proxy), ["shop/load-0", "shop/web-0"]);

  say(WEB, "", {
    ...NO_STATS,
    filters: [run("retry", 50, 9000, 2, "replaced"), run("retry", 100, 2000, 0)],
  });
  await round();
  const [after] = view().filters;
  assert.equal([after?.calls, after?.nsPerCall, after?.traps], [450, 1250, 3]);
  assert.equal(after?.running.map(({ current }) => current), [true, false, true]);
});

test("the reason of a trap is shown as the control plane explains it", async () => {
  const { state, say, round, view } = setUp();
  state.filterList = [filter("retry", "a", "ab")];
  const load = { name: "retry", sha256: digest("a"), calls: 1, nsPerCall: 1, traps: 1 };
  const trapped = { ...load, fuelExhausted: 0, lastError: "in f (byte 0x5)", state: "ready" };
  say(LOAD, "", { ...NO_STATS, filters: [trapped] });
  await round();
  assert.is(view().filters[0]?.running[0]?.lastError, "in f (byte 0x5)");
  Object.assign(state, {
    explain: (sha256: string, reason: string) => `${sha256.slice(0, 2)} ${reason} at a.ts:1:1`,
  });
  assert.is(view().filters[0]?.running[0]?.lastError, "aa in f (byte 0x5) at a.ts:1:1");
});

test("a proxy that is away keeps its figures and says when it was seen", async () => {
  const { http, round, view } = setUp();
  await round();
  http.at.delete("127.1.0.2:4191");
  await round();
  const web = view().proxies.find(({ pod }) => pod === "web-0");
  assert.equal([web?.state, web?.rssMiB], ["away", 50]);
  assert.is(web?.seenAt, Date.UTC(2030, 0, 1));
});

test("bounded() keeps the busiest services and says how many there are", () => {
  const { state, view } = setUp();
  state.serviceList = Array.from({ length: 600 }, (_, i) => service(`s${i}`, []));
  const whole = view();
  const busy = {
    ...whole,
    services: whole.services.map((s, i) => ({ ...s, golden: { ...s.golden, rps: i } })),
  };
  const cut = bounded(busy);
  assert.is(cut.services.length, 500);
  assert.is(cut.services[0]?.name, "s599");
  assert.is(cut.total.services, 600);
  assert.equal(bounded(setUp().view()).services.map(({ name }) => name), ["web", "vote"]);
});

test.run();
