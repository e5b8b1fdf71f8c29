// The demo as a user runs it, with this runtime: its document, its promises, its end. Under Deno with
// exactly the rights of `npm run start:deno`.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { DemoReport } from "../../src/cli/demo-report.ts";
import { startDemo, through } from "./support/demo.ts";

const NET = process.versions.deno === undefined ? "127.81" : "127.82";
const CATALOGUE = "http://catalogue.shop.svc.cluster.local:8080/items";
/** Eight seconds are promised for two quiet cores; here other tests may run. */
const STARTUP_MS = 20_000;

/** Processes of which `pid` is the parent. */
function childrenOf(pid: number): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((child) => {
    try {
      const stat = readFileSync(`/proc/${child}/stat`, "utf8");
      return Number(stat.slice(stat.lastIndexOf(")") + 4).split(" ")[0]) === pid;
    } catch {
      return false; // it ended while we looked
    }
  });
}

test("tulle demo --json keeps its promises and prints one document", async () => {
  const demo = startDemo({ net: NET }, "--duration", "10s", "--json");
  const status = await demo.ended;
  assert.is(demo.err(), "");
  assert.is(status, 0);
  const report = JSON.parse(demo.out()) as DemoReport;
  assert.equal(Object.keys(report), [
    ...["services", "proxies", "filters", "swaps", "requestsAcrossSwaps", "failedDuringSwap"],
    "startupMs",
  ]);
  assert.equal(report.services.map((s) => s.name), ["web", "catalogue", "vote"]);
  for (const service of report.services) {
    assert.ok(service.requests > 50, `${service.name}: ${service.requests} requests`);
    assert.ok((service.successRate ?? 0) >= 0.999, `${service.name}: ${service.successRate}`);
    const { p50Ms, p95Ms, p99Ms } = service;
    assert.ok(p50Ms !== null && p95Ms !== null && p99Ms !== null);
    assert.ok(p50Ms! > 0 && p50Ms! <= p95Ms! && p95Ms! <= p99Ms!);
  }
  const catalogue = report.services[1]!;
  assert.ok(
    catalogue.actualSuccessRate! < catalogue.successRate!,
    "a replica fails 5 %, which retries hide",
  );
  assert.is(report.proxies.length, 6);
  for (const proxy of report.proxies) {
    assert.ok(proxy.mtlsConnections > 0, `${proxy.name} has no mutual TLS`);
    assert.is(proxy.plaintextConnections, 0, proxy.name);
    assert.ok(proxy.rssMiB > 10);
  }
  const names = new Set(report.filters.map((f) => f.name));
  const expected = ["header-modifier", "retry", "route-metrics", "standard-timeout"];
  assert.equal([...names].sort(), expected);
  for (const filter of report.filters) {
    assert.match(filter.sha256, /^[0-9a-f]{64}$/);
    assert.is(filter.traps, 0);
  }
  for (const name of names) {
    assert.ok(report.filters.some((f) => f.name === name && f.calls > 0 && f.nsPerCall > 0), name);
  }
  assert.ok(report.swaps >= 2);
  assert.ok(report.requestsAcrossSwaps > 0);
  assert.is(report.failedDuringSwap, 0);
  assert.ok(report.startupMs < STARTUP_MS, `${report.startupMs} ms`);
});

test("the demo's mesh serves who may ask, refuses who may not, and ends in two seconds with nothing left", async () => {
  const demo = startDemo({ net: NET });
  await demo.until("The mesh is up");
  const allowed = await through(NET, 2, CATALOGUE);
  assert.is(allowed.status, 200);
  assert.is(allowed.headers["x-filtered-by"], "tulle");
  assert.is((await through(NET, 1, CATALOGUE)).status, 403);
  const dashboard = /dashboard +(\S+)/.exec(demo.out())?.[1] ?? "";
  assert.is((await fetch(dashboard)).status, 200);
  const folder = /edit +(\S+?)\/demo\/mesh/.exec(demo.out())?.[1] ?? "";
  assert.ok(existsSync(folder));
  const children = childrenOf(demo.child.pid!);
  assert.is(children.length, 13, "a control plane, 6 proxies, 6 applications");

  const asked = performance.now();
  process.kill(demo.child.pid!, "SIGINT");
  await demo.ended;
  assert.ok(performance.now() - asked < 2_000, `it took ${performance.now() - asked} ms`);
  for (const pid of children) assert.not.ok(existsSync(`/proc/${pid}`), `process ${pid} is left`);
  assert.not.ok(existsSync(folder));
});

test("Ctrl-C before the mesh is up leaves nothing either", async () => {
  const demo = startDemo({ net: NET });
  while (childrenOf(demo.child.pid!).length < 7) await new Promise((r) => setTimeout(r, 20));
  const children = childrenOf(demo.child.pid!);
  process.kill(demo.child.pid!, "SIGTERM");
  assert.is(await demo.ended, 1);
  assert.is(demo.err(), "tulle: Stopped before the mesh was up\n");
  for (const pid of children) assert.not.ok(existsSync(`/proc/${pid}`), `process ${pid} is left`);
});

test("a proxy that dies at the start is one line that says why, and ends the demo", async () => {
  const demo = startDemo({ net: NET });
  while (childrenOf(demo.child.pid!).length === 0) await new Promise((r) => setTimeout(r, 5));
  // The demo has looked whether its addresses are free, and its proxies do not run yet.
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(4191, `${NET}.1.3`, resolve));
  const started = performance.now();
  try {
    assert.is(await demo.ended, 1);
    assert.match(
      demo.err(),
      /^tulle: catalogue-a's proxy \(process \d+\) ended with status 1: .*127\.\d+\.1\.3:4191.*\n$/,
    );
    // Nobody is asked for 45 s whether it is ready; the rest is time to start, on a busy machine too.
    assert.ok(performance.now() - started < 40_000);
  } finally {
    server.close();
  }
});

test("a taken address is one clear line", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(4140, `${NET}.1.2`, resolve));
  const demo = startDemo({ net: NET });
  assert.is(await demo.ended, 1);
  assert.is(
    demo.err(),
    `tulle: ${NET}.1.2:4140 is taken by another process\n` +
      "  Is another demo running? Take another network: tulle demo --net 127.78\n",
  );
  server.close();
});

test.run();
