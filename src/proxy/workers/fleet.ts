// The data plane in several worker threads: starts them, tells them what changes, sums up what they tell,
// and starts anew whichever ends. Share-nothing: each listens on the same addresses and serves alone.

import type { SocketAddr } from "../../core/addr.ts";
import { Backoff, type Clock } from "../../core/clock.ts";
import type { FilterEngine, FilterPorter } from "../../core/filter.ts";
import type { Listener } from "../../core/listen.ts";
import type { Logger, LogLevel } from "../../core/log.ts";
import { Sheet } from "../../core/sheet.ts";
import { addExemplars, addSheet, type RemoteSheet, sweepPast } from "../../core/sheet-sum.ts";
import { RETAIN_IDLE_MS } from "../metrics/retain.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { ProxyMetrics } from "../metrics.ts";
import type { PlaneReport } from "../report.ts";
import type { Serving } from "../serving.ts";
import { FleetEngine } from "./fleet-engine.ts";
import { type StartThread, WorkerLink } from "./link.ts";
import type { TlsCredentials, ToWorker, WorkerReport, WorkerStart } from "./protocol.ts";
import { sumReports } from "./report-sum.ts";
import type { TapHub } from "../tap/hub.ts";
import { TapRelay } from "./tap-relay.ts";

/** Between a worker's end and its next start: at once almost, then longer while it goes on ending. */
const MIN_RESTART_MS = 100;
const MAX_RESTART_MS = 30_000;
/** Ports of which one worker tells the others; more than discovery watches. */
const MAX_PORTS = 2_000;
/** One that ran this long was healthy. */
const HEALTHY_MS = 60_000;

export interface FleetOptions {
  /** At least one. */
  readonly workers: number;
  /** What each is started with, apart from its number. */
  readonly data: Omit<WorkerStart, "number" | "log"> & {
    readonly log: Pick<WorkerStart["log"], "format">;
  };
  readonly start: StartThread;
  /** Compiles and tries modules on this thread. */
  readonly engine: FilterEngine & FilterPorter;
  /** The main thread's own: exits of workers are counted here. */
  readonly metrics: ProxyMetrics;
  /** What a worker that is gone counted is kept for so long after it, where no other has it. */
  readonly retainIdleMs?: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Whoever observes requests, served by this thread. */
  readonly tap?: { readonly hub: TapHub; listen(): Promise<readonly Listener[]> };
}

/** Workers under one roof. */
export class Fleet implements Serving {
  readonly engine: FleetEngine;
  isDraining = false;
  readonly #o: FleetOptions;
  readonly #links = new Map<number, WorkerLink>();
  readonly #backoffs: readonly Backoff[];
  readonly #restarts = new Map<number, () => void>();
  /** What those counted that are gone. */
  readonly #pastSheet = new Sheet();
  #past: WorkerReport[] = [];
  #discovery: Discovery | null = null;
  #credentials: TlsCredentials | null = null;
  #level: LogLevel;
  #mayListen = false;
  readonly #tap: TapRelay | null;
  #observers: readonly Listener[] = [];
  /** Ports that some worker met, which all of them watch. */
  readonly #ports = new Set<number>();
  /** Workers that ended before their data plane was built, by number, with why. */
  readonly #neverStarted = new Map<number, string>();

  constructor(o: FleetOptions) {
    this.#o = o;
    this.#level = o.log.level;
    const { tap } = o;
    this.#tap = tap === undefined ? null : new TapRelay(tap.hub, (m) => this.#tell(m));
    this.engine = new FleetEngine(o.engine, () => this.#links.values());
    this.#backoffs = Array.from(
      { length: o.workers },
      () => new Backoff(MIN_RESTART_MS, MAX_RESTART_MS, 0.2, o.random),
    );
    this.#count();
  }

  begin(discovery: Discovery): void {
    this.#discovery = discovery;
    for (let number = 1; number <= this.#o.workers; number++) this.#start(number);
  }

  credentials(credentials: TlsCredentials): void {
    const { certPem, keyPem, anchorsPem, serverName } = credentials;
    this.#credentials = { certPem, keyPem, anchorsPem, serverName };
    this.#tell({ type: "credentials", credentials: this.#credentials });
  }

  async listen(): Promise<readonly SocketAddr[]> {
    this.#mayListen = true;
    // What could not even begin will not a second later: the proxy has no use for it.
    for (const [number, why] of this.#neverStarted) {
      if (this.#links.get(number)?.hasStarted === true) continue;
      throw new Error(`worker ${number} does not start: ${why}`);
    }
    if (this.#links.size === 0) throw new Error("no worker runs");
    const addrs = await Promise.all(Array.from(this.#links.values(), (link) => link.listen()));
    this.#observers = await this.#o.tap?.listen() ?? [];
    this.#count();
    return addrs[0] ?? [];
  }

  logLevel(level: LogLevel): void {
    this.#level = level;
    this.#tell({ type: "log", level });
  }

  async report(): Promise<PlaneReport> {
    const links = [...this.#links.values()];
    const reports = await Promise.all(links.map((link) => link.report()));
    const sum = sumReports(reports.filter((r) => r !== null), this.#past);
    this.engine.newest = sum;
    const sheet = new Sheet();
    sweepPast(
      this.#pastSheet,
      this.#sheets(),
      this.#o.clock.now(),
      this.#o.retainIdleMs ?? RETAIN_IDLE_MS,
    );
    addSheet(sheet, this.#o.metrics.sheet);
    addSheet(sheet, this.#pastSheet);
    for (const link of links) link.sheet.addTo(sheet, true);
    addExemplars(sheet, sum.exemplars);
    return { ...sum, sheet };
  }

  #sheets(): readonly RemoteSheet[] {
    return Array.from(this.#links.values(), (link) => link.sheet);
  }

  async drain(graceMs: number): Promise<void> {
    this.isDraining = true;
    for (const listener of this.#observers) void listener.close();
    for (const cancel of this.#restarts.values()) cancel();
    this.#restarts.clear();
    await Promise.all(Array.from(this.#links.values(), (link) => link.drain(graceMs)));
  }

  async close(): Promise<void> {
    this.isDraining = true;
    for (const cancel of this.#restarts.values()) cancel();
    await Promise.all(Array.from(this.#links.values(), (link) => link.leave()));
  }

  #start(number: number): void {
    const { data, start, clock, log } = this.#o;
    const discovery = this.#discovery;
    if (discovery === null) throw new Error("the data plane was not begun");
    const link = new WorkerLink({
      start,
      data: { ...data, number, log: { ...data.log, level: this.#level } },
      snapshots: { discovery, membersOf: (chain) => this.engine.membersOf(chain) },
      clock,
      log,
      watches: (port) => this.#watch(port),
      tapped: (worker, id, events) => this.#tap?.events(worker, id, events),
      dropped: (from, family, labels) =>
        from.sheet.dropped(family, labels, this.#pastSheet, this.#sheets()),
      ended: (ended, why) => this.#ended(ended, why),
    });
    this.#links.set(number, link);
    for (const port of this.#ports) link.post({ type: "port", port });
    for (const message of this.#tap?.all() ?? []) link.post(message);
    // Before anything that could name them.
    for (const [id, filter] of this.engine.all()) link.post({ type: "filter", id, filter });
    if (this.#credentials !== null) {
      link.post({ type: "credentials", credentials: this.#credentials });
    }
  }

  #watch(port: number): void {
    if (this.#ports.has(port) || this.#ports.size >= MAX_PORTS) return;
    this.#ports.add(port);
    this.#tell({ type: "port", port });
  }

  #ended(link: WorkerLink, why: string): void {
    const { metrics, clock, log } = this.#o;
    const { number } = link;
    if (this.#links.get(number) !== link) return;
    this.#links.delete(number);
    this.#tap?.gone(number);
    if (link.hasStarted) this.#neverStarted.delete(number);
    else this.#neverStarted.set(number, why);
    link.sheet.addTo(this.#pastSheet, false);
    if (link.newest !== null) {
      this.#past = [sumReports([], [...this.#past, link.newest])];
    }
    this.#count();
    if (this.isDraining) return;
    metrics.count(metrics.workerExits, { worker: String(number) });
    const backoff = this.#backoffs[number - 1] as Backoff;
    if (clock.now() - link.sinceMs >= HEALTHY_MS) backoff.reset();
    const waitMs = backoff.next();
    log.error("A worker ended: the others serve on, it is started again", {
      worker: number,
      why,
      restartMs: Math.round(waitMs),
    });
    this.#restarts.set(number, clock.after(waitMs, () => this.#restart(number)));
  }

  #restart(number: number): void {
    this.#restarts.delete(number);
    this.#start(number);
    if (!this.#mayListen) return;
    this.#links.get(number)?.listen().then(
      () => {
        this.#count();
        this.#o.log.info("A worker serves again", { worker: number });
      },
      // When it is gone, its end was said and it is tried again.
      (e: unknown) => {
        this.#o.log.error("A worker cannot listen", { worker: number, error: String(e) });
        void this.#links.get(number)?.leave();
      },
    );
  }

  #tell(message: ToWorker): void {
    for (const link of this.#links.values()) link.post(message);
  }

  /** How many serve, as a gauge. */
  #count(): void {
    const { sheet, workersServing } = this.#o.metrics;
    const serving = [...this.#links.values()].filter((link) => link.isServing).length;
    sheet.set(sheet.cell(workersServing, {}), serving);
  }
}
