// The demo's mesh with traffic that looks like traffic, for tests of the page and its screenshots: a
// load generator, a web front, a catalogue of three replicas (one slow, one that fails), a vote service.
// Each `step` is one second on its own clock; nothing is random but by seed.

import { readFile } from "node:fs/promises";
import type { ProxyStats } from "../../src/api/admin.ts";
import { createAdminApp } from "../../src/control/admin/app.ts";
import { loadAssets } from "../../src/control/admin/assets.ts";
import { Live } from "../../src/control/admin/live.ts";
import type { RolloutModule, RolloutResult } from "../../src/control/admin/state.ts";
import { SILENT } from "../../src/core/log.ts";
import type { HttpServer } from "../../src/runtime/http-server.ts";
import { serveHttp } from "../../src/runtime/http-server.ts";
import { LATENCY_BOUNDS_MS } from "../../src/control/admin/quantile.ts";
import { seeded } from "../support/random.ts";
import { FakeClock } from "../support/fake-clock.ts";
import {
  endpoint,
  FakeProxies,
  FakeState,
  filter,
  identity,
  NO_STATS,
  outbound,
  pod,
  service,
} from "../control/admin/fixture.ts";

export const BUILDS = {
  "route-metrics": ["4c7a1f0e", "a91b33d2"],
  "retry-decision": ["e2d08b6c", "77f5190a", "0b3ce4f1"],
  "header-change": ["d4419c3b", "58ae7720"],
} as const;

/** A digest that begins so. */
export const digestOf = (start: string): string => start.repeat(8);

interface Call {
  readonly from: string;
  readonly to: string;
  readonly rps: number;
  readonly meanMs: number;
  readonly fails: number;
  ok: number;
  actualFailed: number;
  le: Record<number, number>;
}

export class BusyMesh {
  readonly state = new FakeState();
  readonly clock = new FakeClock(Date.UTC(2030, 4, 17, 14, 2, 0));
  readonly http = new FakeProxies();
  readonly live: Live;
  /** What proxies run now, by filter; behind what is served by a step. */
  readonly #running = new Map<string, string>();
  readonly #random = seeded(11);
  #seconds = 0;
  readonly #calls: Call[] = [
    call("load-0", "web", 64, 9, 0),
    call("web-0", "catalogue", 58, 6, 0.016),
    call("web-0", "vote", 21, 2.5, 0),
    call("vote-0", "store", 8, 1.2, 0),
  ];

  constructor() {
    const { state } = this;
    state.podList = [
      pod("load-0", "127.77.0.1", "load"),
      pod("web-0", "127.77.0.2", "web"),
      ...[0, 1, 2].map((i) => pod(`catalogue-${i}`, `127.77.0.${3 + i}`, "catalogue")),
      pod("vote-0", "127.77.0.6", "vote"),
      pod("store-0", "127.77.0.7", "store"),
    ];
    state.serviceList = [
      service("web", [endpoint("127.77.0.2:8080", "web-0")]),
      service("catalogue", [
        endpoint("127.77.0.3:8080", "catalogue-0"),
        endpoint("127.77.0.4:8080", "catalogue-1"),
        endpoint("127.77.0.5:8080", "catalogue-2"),
      ]),
      service("vote", [endpoint("127.77.0.6:8080", "vote-0")]),
      service("store", [endpoint("127.77.0.7:6379", "store-0")]),
      service("archive", []),
    ];
    state.filterList = Object.entries(BUILDS).map(([name, builds], i) => {
      const modules = builds.map((start, b) => ({
        sha256: digestOf(start),
        size: 3100 + 870 * i + 130 * b,
        label: `${name}${b === 0 ? "" : `-v${b + 1}`}.wasm`,
      }));
      const first = modules[0] as (typeof modules)[number];
      this.#running.set(name, first.sha256);
      const targets = [["Service shop/web"], ["Service shop/catalogue"], ["Service shop/vote"]][i];
      return {
        ...filter(name, "a", "a"),
        targets: targets ?? [],
        builds: modules,
        wanted: first,
        served: first,
      };
    });
    const wall = this.clock.wall();
    state.identityState = {
      trustDomain: "cluster.local",
      anchors: [{
        name: "root.linkerd.cluster.local",
        serial: "01",
        notAfter: wall + 3650 * 86_400_000,
      }],
      issued: ["load", "web", "catalogue", "vote", "store"].map((name, i) => ({
        name: identity(name),
        serial: `0${i}`,
        notAfter: wall + 23.4 * 3_600_000 - i * 60_000,
      })),
    };
    state.rollout = (name, module) => Promise.resolve(this.rollOut(name, module));
    const { clock, http } = this;
    this.live = new Live({ state, http, clock, log: SILENT });
  }

  /** One second of traffic, then a scrape. */
  async step(): Promise<void> {
    this.#seconds++;
    const wave = 1 + 0.18 * Math.sin(this.#seconds / 9) + 0.08 * (this.#random() - 0.5);
    for (const c of this.#calls) {
      const requests = Math.round(c.rps * wave);
      c.ok += requests;
      for (let i = 0; i < requests; i++) {
        if (this.#random() < c.fails) c.actualFailed++;
        const ms = -Math.log(1 - this.#random()) * c.meanMs * (this.#random() < 0.03 ? 9 : 1);
        for (const bound of LATENCY_BOUNDS_MS) {
          if (ms <= bound) c.le[bound] = (c.le[bound] ?? 0) + 1;
        }
      }
    }
    for (const { name, admin } of this.state.podList) {
      const metrics = this.#calls.filter((c) => c.from === name)
        .map((c) => outbound(c.to, { ok: c.ok, actualFailed: c.actualFailed, le: c.le })).join("");
      this.http.at.set(`${admin.ip}:4191`, { metrics, stats: this.#stats(name) });
    }
    this.clock.advance(1000);
    await this.live.step();
    for (const { name, served } of this.state.filterList) {
      if (served !== null) this.#running.set(name, served.sha256);
    }
  }

  /** What the control plane does with a roll-out. */
  rollOut(name: string, module: RolloutModule): RolloutResult {
    const found = this.state.filterList.find((f) => f.name === name);
    if (found === undefined) {
      return { ok: false, kind: "unknown-filter", reason: `no filter is named ${name}` };
    }
    const build = found.builds.find((b) => "sha256" in module && b.sha256 === module.sha256);
    if (build === undefined) {
      return { ok: false, kind: "refused", reason: "the registry has no such module" };
    }
    const previous = found.served?.sha256 ?? null;
    this.state.filterList = this.state.filterList.map((f) =>
      f === found ? { ...f, wanted: build, served: build } : f
    );
    this.state.touch();
    return { ok: true, sha256: build.sha256, previous };
  }

  /** Serves the page and its API at a free port, with the files of `src/dashboard`. */
  async serve(): Promise<HttpServer> {
    const folder = new URL("../../src/dashboard/", import.meta.url);
    const app = createAdminApp(this.state, {
      live: this.live,
      assets: await loadAssets((name) => readFile(new URL(name, folder))),
      listen: { ip: "127.0.0.1", port: 0 },
      log: SILENT,
    });
    return serveHttp({ ip: "127.0.0.1", port: 0 }, app.fetch);
  }

  #stats(name: string): ProxyStats {
    const mine = this.#calls.filter((c) => c.from === name);
    const addrs = mine.flatMap(({ to }) =>
      (this.state.serviceList.find((s) => s.name === to)?.endpoints ?? [])
        .map(({ addr, ready }, i) => ({ to, addr: `${addr.ip}:${addr.port}`, i, ready }))
    );
    const runs = (filter: string, on: string) =>
      name === on ? [{ filter, calls: mine[0]?.ok ?? 0 }] : [];
    const filters = [
      ...runs("route-metrics", "load-0"),
      ...runs("retry-decision", "web-0"),
      ...runs("header-change", "web-0"),
      ...runs("route-metrics", "vote-0"),
    ];
    const i = this.state.podList.findIndex((p) => p.name === name);
    return {
      proxy: {
        ...NO_STATS.proxy,
        pod: name,
        rssMiB: 61 + i * 2.3,
        mtlsConnections: 3 + ((i * 5) % 7),
      },
      endpoints: addrs.filter(({ ready }) => ready).map(({ to, addr, i }) => ({
        authority: `${to}.shop.svc.cluster.local:8080`,
        addr,
        weight: 10_000,
        ewmaMs: (to === "catalogue" && i === 1 ? 41 : 3.4) + this.#random(),
        pending: Math.round(this.#random()),
        state: "ready",
      })),
      filters: filters.map(({ filter, calls }, i) => ({
        name: filter,
        sha256: this.#running.get(filter) ?? "",
        calls,
        nsPerCall: 640 + 320 * i + 20 * this.#random(),
        traps: 0,
        fuelExhausted: 0,
        lastError: "",
        state: "ready",
      })),
    };
  }
}

function call(from: string, to: string, rps: number, meanMs: number, fails: number): Call {
  const le = Object.fromEntries(LATENCY_BOUNDS_MS.map((bound) => [bound, 0]));
  return { from, to, rps, meanMs, fails, ok: 0, actualFailed: 0, le };
}
