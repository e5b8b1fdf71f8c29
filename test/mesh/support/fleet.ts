// Real worker threads around this thread's own discovery: a target whose routes and filters a test sets,
// an application, and threads that a test may hold back or end.

import type { FilterRef } from "../../../src/core/filter.ts";
import { createLogger } from "../../../src/core/log.ts";
import type { RequestMatch } from "../../../src/model/route.ts";
import { DEFAULT_ROUTE } from "../../../src/proxy/discovery/combine.ts";
import type { OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { type FilterStatus, FilterStore } from "../../../src/proxy/discovery/filters.ts";
import { RouteChains } from "../../../src/proxy/discovery/route-chains.ts";
import { fixedView, Shared } from "../../../src/proxy/discovery/shared.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { Fleet } from "../../../src/proxy/workers/fleet.ts";
import type { Thread } from "../../../src/proxy/workers/link.ts";
import type { FromWorker, ToWorker } from "../../../src/proxy/workers/protocol.ts";
import { parseSamples, type Sample } from "../../../src/cli/demo-scrape.ts";
import { SYSTEM_CLOCK } from "../../../src/runtime/process.ts";
import { startWorker } from "../../../src/runtime/workers.ts";
import { CELLS_BYTES } from "../../../wasm/host/cells.ts";
import { createEngine } from "../../../wasm/host/engine.ts";
import { freePort } from "../../support/free-port.ts";
import { type Answer, ask, type Said, type Seen, serveApp } from "./http.ts";

/** A worker as the test sees it. */
export interface TestWorker {
  readonly number: number;
  /** Everything that it said. */
  readonly said: FromWorker[];
  /** Messages of this type are kept back from it until `release`. */
  hold: ToWorker["type"] | null;
  release(): void;
  /** Ends its thread, as a crash would. */
  kill(): void;
  isGone: boolean;
}

export interface TestFleet {
  readonly fleet: Fleet;
  readonly port: number;
  readonly lines: readonly string[];
  /** In order of their start; a restarted one is a new one. */
  readonly workers: readonly TestWorker[];
  /** Sets the target's routes: each runs its filters for paths that begin with its prefix. */
  route(...routes: readonly (readonly [prefix: string, filters: readonly FilterRef[]])[]): void;
  /** Makes a module known by its reference. */
  module(bytes: Uint8Array, ref: FilterRef): void;
  status(): readonly FilterStatus[];
  /** A request on a connection of its own, which the kernel gives to any of the workers. */
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** What a scrape would show. */
  samples(): Promise<readonly Sample[]>;
  end(): Promise<void>;
}

/** Starts `count` workers that forward to an application which answers as `answer` says. */
export async function startFleet(
  count: number,
  answer: (seen: Seen) => Said | Promise<Said>,
): Promise<TestFleet> {
  const app = await serveApp("127.0.0.1", 0, answer);
  const listen = { ip: "127.0.0.1", port: await freePort() };
  const lines: string[] = [];
  const log = createLogger({
    level: "info",
    format: "plain",
    wall: SYSTEM_CLOCK.wall,
    write: (line) => lines.push(line),
  });
  const workers: TestWorker[] = [];
  const metrics = new ProxyMetrics();
  const modules = new Map<string, Uint8Array>();
  const fleet = new Fleet({
    workers: count,
    data: {
      plane: {
        kind: "static",
        options: {
          listen,
          to: [{ ip: "127.0.0.1", port: app.port }],
          inbound: false,
          identityDir: null,
          upstreamProtocol: "same",
        },
      },
      log: { format: "plain" },
      cells: new SharedArrayBuffer(CELLS_BYTES),
    },
    start: (name, data, on) => {
      const held: ToWorker[] = [];
      const worker: TestWorker = {
        number: data.number,
        said: [],
        hold: null,
        release() {
          worker.hold = null;
          for (const message of held.splice(0)) thread.post(message);
        },
        kill: () => thread.end(),
        isGone: false,
      };
      const thread: Thread = startWorker(
        new URL("../../../src/proxy/worker.ts", import.meta.url),
        name,
        data,
        {
          message: (message) => {
            worker.said.push(message as FromWorker);
            on.message(message);
          },
          ended: (why) => {
            worker.isGone = true;
            on.ended(why);
          },
        },
      );
      workers.push(worker);
      return {
        post: (message) => {
          // Once something is held, what follows waits behind it: the order is part of the protocol.
          if (held.length > 0 || (message as ToWorker).type === worker.hold) {
            held.push(message as ToWorker);
          } else thread.post(message);
        },
        end: () => thread.end(),
      };
    },
    engine: createEngine({ clock: SYSTEM_CLOCK, log }),
    metrics,
    clock: SYSTEM_CLOCK,
    random: Math.random,
    log,
  });
  const store = new FilterStore({
    engine: fleet.engine,
    modules: (ref) => {
      const bytes = modules.get(ref.sha256);
      if (bytes === undefined) return Promise.reject(new Error("no such module"));
      return Promise.resolve(bytes);
    },
    clock: SYSTEM_CLOCK,
    random: Math.random,
    log,
  });
  const shared = new Shared<OutboundSnapshot>(null);
  const endpoints = {
    exists: true,
    endpoints: [{
      addr: { ip: "127.0.0.1", port: app.port },
      weight: 10_000,
      labels: {},
      identity: null,
      transportPort: 0,
      hint: "none" as const,
    }],
  };
  const budget = { ratio: 0, minPerSecond: 0, ttlMs: 10_000 };
  const chains = new RouteChains(store, () => {
    const { routes } = chains;
    if (routes === null) return;
    shared.publish({
      authority: "static",
      exists: true,
      opaque: false,
      routes,
      budget,
      endpoints,
      defaultRttMs: 30,
      decayMs: 10_000,
      accrual: null,
    });
  });
  fleet.begin({
    outbound: () => shared.open(),
    inbound: () => fixedView(null as never, "there is no inbound side"),
  });
  await fleet.listen();
  return {
    fleet,
    port: listen.port,
    lines,
    workers,
    route: (...routes) =>
      chains.set(routes.map(([prefix, filters]) => ({
        route: {
          ...DEFAULT_ROUTE,
          name: prefix,
          match: { kind: "path-prefix", prefix } satisfies RequestMatch,
          filters,
        },
        filters,
      }))),
    module: (bytes, ref) => void modules.set(ref.sha256, bytes),
    status: () => store.status(),
    get: (path, headers = {}) =>
      ask({ host: "127.0.0.1", port: listen.port, path, headers, agent: false }),
    samples: async () => {
      const { sheet, filterSeries } = await fleet.report();
      return parseSamples(exposition(sheet, filterSeries), () => true);
    },
    async end() {
      chains.close();
      store.close();
      await fleet.close();
      await app.close();
    },
  };
}
