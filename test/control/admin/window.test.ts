import { test } from "uvu";
import * as assert from "uvu/assert";
import { Tally } from "../../../src/control/admin/golden.ts";
import { ProxyWindow } from "../../../src/control/admin/window.ts";
import { outbound } from "./fixture.ts";

const WEB = "shop/web";

function golden(window: ProxyWindow, nowMs: number, cell = WEB) {
  const tally = new Tally();
  tally.add(window.sums(cell, nowMs));
  return { ...tally.golden(), mtls: tally.mtls, requests: tally.requests };
}

test("a first scrape only says where counters stand", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 1_000_000 }), 1000);
  assert.is(golden(window, 1000).rps, 0);
  assert.is(golden(window, 1000).successRate, null);
});

test("rates are differences over the time between scrapes", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 100 }), 1000);
  window.scraped(outbound("web", { ok: 150, failed: 50 }), 3000);
  assert.is(golden(window, 3000).rps, 50);
  assert.is(golden(window, 3000).successRate, 0.5);
});

test("effective success is after retries, actual success per attempt", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 0 }), 0);
  window.scraped(outbound("web", { ok: 100, actualOk: 100, actualFailed: 25 }), 1000);
  const { rps, successRate, actualSuccessRate } = golden(window, 1000);
  assert.equal([rps, successRate, actualSuccessRate], [100, 1, 0.8]);
});

test("without a profile, response_total answers for both rates", () => {
  const window = new ProxyWindow();
  const text = (ok: number, bad: number) =>
    ["success", "failure"].map((is, i) =>
      `response_total{direction="outbound",authority="web.shop.svc.cluster.local:80",tls="true",` +
      `classification="${is}"} ${[ok, bad][i]}\n`
    ).join("");
  window.scraped(text(0, 0), 0);
  window.scraped(text(30, 10), 1000);
  const { rps, successRate, actualSuccessRate, mtls } = golden(window, 1000);
  assert.equal([rps, successRate, actualSuccessRate, mtls], [40, 0.75, 0.75, 1]);
});

test("a counter that falls began again at zero", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 500 }), 0);
  window.scraped(outbound("web", { ok: 7 }), 1000);
  assert.is(golden(window, 1000).requests, 7);
  window.scraped(outbound("web", { ok: 10 }), 2000);
  assert.is(golden(window, 2000).requests, 10);
});

test("a series that appears later counts from zero", () => {
  const window = new ProxyWindow();
  window.scraped("# nothing yet\n", 0);
  window.scraped(outbound("web", { ok: 9 }), 1000);
  assert.is(golden(window, 1000).requests, 9);
});

test("a series that is dropped and one that stays do not look like a restart", () => {
  const window = new ProxyWindow();
  const one = (pod: string, n: number) =>
    `response_total{direction="outbound",dst_namespace="shop",dst_service="web",dst_pod="${pod}",` +
    `classification="success",tls="true"} ${n}\n`;
  window.scraped(one("a", 1000) + one("b", 10), 0);
  window.scraped(one("b", 15), 1000);
  assert.is(golden(window, 1000).requests, 5);
});

test("only the last ten seconds count", () => {
  const window = new ProxyWindow();
  for (let s = 0; s <= 30; s++) {
    window.scraped(outbound("web", { ok: s < 20 ? 0 : (s - 20) * 10 }), s * 1000);
  }
  assert.is(golden(window, 30_000).rps, 10);
  assert.is(golden(window, 30_000).requests, 100);
  assert.is(golden(window, 35_000).requests, 50);
  assert.is(golden(window, 41_000).requests, 0);
  assert.is(golden(window, 41_000).successRate, null);
});

test("a gap between scrapes is part of the time that the rate is over", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 0 }), 0);
  window.scraped(outbound("web", { ok: 40 }), 4000);
  assert.is(golden(window, 4000).rps, 10);
});

test("percentiles come from the growth of buckets, not from all of the past", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 1000, le: { 1: 0, 1000: 1000 } }), 0);
  window.scraped(outbound("web", { ok: 1100, le: { 1: 100, 1000: 1100 } }), 1000);
  const { p50Ms, p99Ms } = golden(window, 1000);
  assert.is(p50Ms, 0.5);
  assert.is(p99Ms, 0.99);
});

test("open connections answer for mutual TLS where there are no requests", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 1 }), 0);
  const tally = new Tally();
  tally.add(window.sums(WEB, 0));
  assert.equal([tally.requests, tally.connections, tally.mtls], [0, 2, 1]);
  window.lost();
  assert.is(window.cells(0).size, 0);
});

test("plain text is told from mutual TLS", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 0, plain: true }), 0);
  window.scraped(outbound("web", { ok: 5, plain: true }), 1000);
  assert.is(golden(window, 1000).mtls, 0);
});

test("a malformed document is refused whole and changes nothing", () => {
  const window = new ProxyWindow();
  window.scraped(outbound("web", { ok: 10 }), 0);
  const bad = [
    outbound("web", { ok: 20 }) + 'response_total{direction="outbound",classification} 1\n',
    outbound("web", { ok: 20 }) + 'response_total{x="1" 5\n',
    outbound("web", { ok: 20 }) + "response_total -1\n",
    outbound("web", { ok: 20 }) + "response_total NaN\n",
    outbound("web", { ok: 20 }) + "response_total many\n",
  ];
  for (const text of bad) assert.throws(() => window.scraped(text, 1000));
  window.scraped(outbound("web", { ok: 30 }), 2000);
  assert.is(golden(window, 2000).requests, 20);
  assert.is(golden(window, 2000).rps, 10);
});

test("rates of proxies that were seen for different times add up", () => {
  const [long, short] = [new ProxyWindow(), new ProxyWindow()];
  for (let s = 0; s <= 9; s++) long.scraped(outbound("web", { ok: s * 10 }), s * 1000);
  short.scraped(outbound("web", { ok: 0 }), 8000);
  short.scraped(outbound("web", { ok: 5 }), 9000);
  const tally = new Tally();
  for (const window of [long, short]) tally.add(window.sums(WEB, 9000));
  assert.is(tally.rps, 15);
});

test.run();
