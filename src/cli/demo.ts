// `tulle demo`: a whole mesh on loopback with traffic in it. This page shows its life in order;
// the files beside it do the work.

import { existsSync } from "node:fs";
import process from "node:process";
import { formatSocketAddr, isIpv4, parseSocketAddr, type SocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import type { Command, Terminal } from "./command.ts";
import { countServices, FilterLedger, type MeshSnapshot, since } from "./demo-figures.ts";
import { DemoMesh } from "./demo-mesh.ts";
import { readSpares } from "./demo-folders.ts";
import { ADMIN_PORT, CONTROL_PLANE, DEFAULT_NET, demoPods, OUTBOUND_PORT } from "./demo-plan.ts";
import { checkFree } from "./demo-preflight.ts";
import { broken, type DemoFacts, report, type SwapOutcome } from "./demo-report.ts";
import { createScreen, type Screen } from "./demo-screen.ts";
import { planSwaps } from "./demo-swaps.ts";
import { until } from "./demo-time.ts";
import { DemoViews } from "./demo-views.ts";
import { CliError, EXIT_CONFIG, EXIT_FAILURE, usageError } from "./failure.ts";
import { type Flags, parseDurationMs, parseWhole, quote } from "./flags.ts";

/** The mesh and its traffic. */
export interface MeshOptions {
  /** Null: until Ctrl-C. */
  readonly durationMs: number | null;
  /** First half of the pods' addresses. */
  readonly net: string;
  readonly adminListen: SocketAddr;
  /** Requests per second. */
  readonly rate: number;
}

/** What the flags say. */
export interface DemoOptions extends MeshOptions {
  readonly json: boolean;
  readonly watch: boolean;
  /** What is watched; null: the package's own filters. */
  readonly filtersFolder: string | null;
}

const DEFAULT_ADMIN = "127.0.0.1:8084";
const DEFAULT_RATE = 40;

/** Runs the demo. */
export const demoCommand: Command = {
  name: "demo",
  summary: "Run a whole mesh on this machine: control plane, four services, six proxies, traffic",
  usage: "[flags]",
  flags: [
    {
      name: "--duration",
      value: "TIME",
      summary: "End after this time, such as 20s (until Ctrl-C)",
    },
    { name: "--json", summary: "Print nothing but one JSON document, at the end" },
    {
      name: "--watch",
      summary: "Compile a filter in filters/ when its source changes, and swap it",
    },
    { name: "--filters", value: "DIR", summary: "With --watch: another folder of filters" },
    { name: "--rate", value: "N", summary: `Requests per second (${DEFAULT_RATE})` },
    { name: "--net", value: "A.B", summary: `First half of the pods' addresses (${DEFAULT_NET})` },
    { name: "--admin", value: "ADDR", summary: `Where the dashboard is (${DEFAULT_ADMIN})` },
  ],
  notes: [
    "Exit status 0: at least 99.9 % of the requests succeeded after retries, every hop between\n" +
    "proxies was mutual TLS, and a filter was replaced at least twice with requests crossing and\n" +
    "none failing.",
  ],
  run: (flags, terminal) => runDemo(demoOptions(flags), terminal),
};

/** Checks the flags that every command takes that runs the demo's mesh. */
export function meshOptions(flags: Flags): MeshOptions {
  const duration = flags.text("--duration");
  const net = flags.text("--net") ?? DEFAULT_NET;
  if (!/^127\.\d{1,3}$/.test(net) || !isIpv4(`${net}.0.1`) || net === "127.0") {
    throw usageError(`--net ${quote(net)} is not half a loopback address: write 127.1 to 127.255`);
  }
  let adminListen: SocketAddr;
  try {
    adminListen = parseSocketAddr(flags.text("--admin") ?? DEFAULT_ADMIN);
  } catch (e) {
    throw usageError(`--admin: ${errorText(e)}`);
  }
  return {
    durationMs: duration === null ? null : parseDurationMs("--duration", duration),
    net,
    adminListen,
    rate: parseWhole("--rate", flags.text("--rate") ?? String(DEFAULT_RATE), 1, 5_000),
  };
}

/** Checks the flags. */
export function demoOptions(flags: Flags): DemoOptions {
  const filtersFolder = flags.text("--filters");
  if (filtersFolder !== null) {
    if (!flags.has("--watch")) throw usageError("--filters needs --watch");
    if (!existsSync(filtersFolder)) {
      throw new CliError(`--filters ${quote(filtersFolder)} does not exist`, {
        exit: EXIT_CONFIG,
      });
    }
  }
  return {
    ...meshOptions(flags),
    json: flags.has("--json"),
    watch: flags.has("--watch"),
    filtersFolder,
  };
}

async function runDemo(options: DemoOptions, terminal: Terminal): Promise<number> {
  const screen = createScreen(terminal, options.json);
  const stopped = new AbortController();
  const stop = () => stopped.abort(new CliError("Stopped before the mesh was up"));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
  try {
    await preflight(options);
    return await live(options, terminal, screen, stopped.signal);
  } finally {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, stop);
  }
}

/** Rejects when an address is taken that the demo needs. */
export async function preflight({ net, adminListen }: MeshOptions): Promise<void> {
  const pods = demoPods(net).flatMap(({ ip, ports }) =>
    [...ports, ADMIN_PORT, OUTBOUND_PORT, 4143].map((port) => ({ ip, port }))
  );
  await checkFree(pods, "Is another demo running? Take another network: tulle demo --net 127.78");
  if (adminListen.port === 0) return;
  await checkFree([adminListen], "Take another address: tulle demo --admin 127.0.0.1:0");
}

async function live(
  options: DemoOptions,
  terminal: Terminal,
  screen: Screen,
  stop: AbortSignal,
): Promise<number> {
  const died: string[] = [];
  const mesh = await DemoMesh.start(
    { net: options.net, adminListen: formatSocketAddr(options.adminListen) },
    {
      died: (name, line) => {
        died.push(name);
        screen.alarm(line);
      },
      failure: (line) => screen.alarm(`a request failed: ${line}`),
      log: (name, line) => {
        // What the control plane warns of is a file that somebody edits right now.
        if (terminal.verbose || name === CONTROL_PLANE) screen.message(`${name}: ${line}`);
      },
    },
    stop,
  );
  const onExit = () => mesh.children.kill();
  process.on("exit", onExit);
  try {
    // `timeOrigin` is when this process started
    const startupMs = performance.now();
    welcome(mesh, options, screen, startupMs);
    const baseline = await mesh.snapshot();
    mesh.go(options.rate);
    const run = await watchIt(mesh, options, screen, stop, baseline);
    // whoever pressed Ctrl-C does not wait for a request that hangs
    const load = await mesh.stopLoad(stop.aborted ? 400 : LAST_ANSWERS_MS);
    const last = await mesh.snapshot();
    run.ledger.add(last);
    const facts: DemoFacts = {
      services: servicesSince(last, baseline, mesh),
      mesh: last,
      filters: run.ledger.totals(),
      swaps: run.swaps,
      startupMs,
      load,
      died,
      isStopped: stop.aborted,
    };
    return conclude(facts, options, terminal);
  } finally {
    await mesh.end();
    process.off("exit", onExit);
  }
}

/** Says where things are. */
function welcome(
  mesh: DemoMesh,
  { net }: DemoOptions,
  screen: Screen,
  ms: number,
): void {
  const web = mesh.pods.find((pod) => pod.app === "web");
  screen.message(
    `The mesh is up in ${(ms / 1000).toFixed(1)} s: a control plane, 6 proxies, 6 applications.`,
  );
  screen.message("");
  screen.message(`  dashboard     ${mesh.adminUrl}/`);
  screen.message(`  edit          ${mesh.folders.mesh}/*.yaml`);
  screen.message(
    `  as the web    curl -x http://${web?.ip}:${OUTBOUND_PORT} ` +
      "http://catalogue.shop.svc.cluster.local:8080/items",
  );
  screen.message(
    `  as the load   curl -x http://${net}.1.1:${OUTBOUND_PORT} ` +
      "http://catalogue.shop.svc.cluster.local:8080/items   (refused: 403)",
  );
  screen.message(`  metrics       curl http://${web?.ip}:${ADMIN_PORT}/metrics`);
  screen.message("");
}

/** A little more than the time-out of the load's requests. */
const LAST_ANSWERS_MS = 11_000;
const VIEW_EVERY_MS = 1_000;

/** Shows the mesh and swaps filters until the time is over or somebody stops it. */
async function watchIt(
  mesh: DemoMesh,
  options: DemoOptions,
  screen: Screen,
  stop: AbortSignal,
  baseline: MeshSnapshot,
): Promise<{ swaps: readonly SwapOutcome[]; ledger: FilterLedger }> {
  const started = performance.now();
  const swaps: SwapOutcome[] = [];
  const ledger = new FilterLedger();
  const views = new DemoViews(mesh, swaps, ledger, baseline);
  const over = new AbortController();
  const end = AbortSignal.any([stop, over.signal]);
  const edited = new Set<string>();
  const done = (outcome: SwapOutcome) => void swaps.push(outcome);
  const { durationMs } = options;
  const choice = { leave: edited, spares: await readSpares(mesh.folders) };
  const swapping = planSwaps(mesh, screen, { durationMs, stop: end, choice, done });
  const watching = options.watch
    ? (await import("./demo-watch.ts")).watchFilters({
      ...{ mesh, screen, stop: end, edited, done },
      ...(options.filtersFolder === null ? {} : { folder: options.filtersFolder }),
    })
    : Promise.resolve();
  while (!end.aborted) {
    const elapsedMs = performance.now() - started;
    const leftMs = (options.durationMs ?? Infinity) - elapsedMs;
    if (leftMs <= 0) break;
    await until(performance.now() + Math.min(VIEW_EVERY_MS, leftMs), end);
    if (!end.aborted) screen.view(await views.next(performance.now() - started));
  }
  over.abort();
  await Promise.all([swapping, watching]);
  return { swaps, ledger };
}

function servicesSince(last: MeshSnapshot, baseline: MeshSnapshot, mesh: DemoMesh) {
  const before = countServices(baseline, mesh.pods);
  return new Map(
    [...countServices(last, mesh.pods)].map(([name, now]) => [name, since(now, before.get(name))]),
  );
}

/** Prints the end and chooses the exit status. */
function conclude(facts: DemoFacts, options: DemoOptions, terminal: Terminal): number {
  const wrong = broken(facts);
  const document = report(facts);
  if (options.json) terminal.out(JSON.stringify(document, null, 2));
  else {
    terminal.out(
      `${facts.load.requests} requests, ${facts.load.failed} failed; ${document.swaps} filter swaps with ` +
        `${document.requestsAcrossSwaps} requests crossing, ${document.failedDuringSwap} failed.`,
    );
  }
  for (const line of wrong) terminal.err(`tulle: ${line}`);
  return wrong.length === 0 ? 0 : EXIT_FAILURE;
}
