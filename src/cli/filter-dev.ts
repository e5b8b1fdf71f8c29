// `tulle filter dev`: the demo's mesh with one filter in front of a service of it, compiled and swapped
// whenever its source is saved. The mesh is the demo's; what is said about it is about the filter.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import process from "node:process";
import { formatSocketAddr } from "../core/addr.ts";
import type { CompiledFilter } from "../core/filter.ts";
import { withPositions } from "../../wasm/host/source-map.ts";
import type { Command, Terminal } from "./command.ts";
import { meshOptions, preflight } from "./demo.ts";
import { FilterLedger } from "./demo-figures.ts";
import { DemoMesh } from "./demo-mesh.ts";
import { NAMESPACE, OUTBOUND_PORT } from "./demo-plan.ts";
import type { SwapOutcome } from "./demo-report.ts";
import { inTheWay } from "./demo-rollout.ts";
import { createScreen, type Screen } from "./demo-screen.ts";
import { until } from "./demo-time.ts";
import { DemoViews } from "./demo-views.ts";
import { watchFilters } from "./demo-watch.ts";
import { CliError, usageError } from "./failure.ts";
import { createCompiler } from "./filter-compiler.ts";
import {
  chosenFilters,
  compileFilter,
  FILTERS_FLAG,
  filtersFolder,
  mapOf,
  readJson,
} from "./filter-project.ts";
import { type Flags, quote } from "./flags.ts";

const SERVICES = ["catalogue", "web", "vote"] as const;
const VIEW_EVERY_MS = 1_000;
const TAKEN_WITHIN_MS = 8_000;

/** Runs the mesh with the filter. */
export const filterDevCommand: Command = {
  name: "dev",
  summary: "Run a filter in a local mesh, built anew as you save",
  usage: "NAME [flags]",
  operands: { min: 1, max: 1 },
  flags: [
    FILTERS_FLAG,
    { name: "--config", value: "FILE.json", summary: "The filter's configuration" },
    {
      name: "--callout",
      value: "NAME=HOST:PORT",
      repeat: true,
      summary: "A service that it asks, such as auth=vote:8080",
    },
    { name: "--service", value: "NAME", summary: `In front of ${SERVICES.join(", ")} (catalogue)` },
    { name: "--duration", value: "TIME", summary: "End after this time (until Ctrl-C)" },
    { name: "--net", value: "A.B", summary: "First half of the pods' addresses (127.77)" },
    { name: "--admin", value: "ADDR", summary: "Where the dashboard is (127.0.0.1:8084)" },
    { name: "--rate", value: "N", summary: "Requests per second (40)" },
  ],
  notes: [
    "The mesh is that of tulle demo. A build that does not compile, is refused, or traps leaves the\n" +
    "one before serving, and says why with file, line and column.",
  ],
  run: (flags, terminal) => dev(flags, terminal),
};

/** What is run. */
interface Plan {
  readonly name: string;
  readonly folder: string;
  readonly service: string;
  readonly config: unknown;
  /** Services by the names that the filter has for them. */
  readonly callouts: Readonly<Record<string, string>>;
}

async function dev(flags: Flags, terminal: Terminal): Promise<number> {
  const folder = filtersFolder(flags);
  const [name = ""] = await chosenFilters(folder, flags.operands);
  const service = flags.text("--service") ?? "catalogue";
  if (!SERVICES.some((s) => s === service)) {
    throw usageError(`--service ${quote(service)} is not one of ${SERVICES.join(", ")}`);
  }
  const config = await readConfig(flags.text("--config"));
  const callouts = calloutsOf(flags.all("--callout"));
  const options = meshOptions(flags);
  const compiler = createCompiler();
  const first = await compileFilter(compiler, folder, name);
  await preflight(options);

  const screen = createScreen(terminal, false);
  const stopped = new AbortController();
  const stop = () => stopped.abort(new CliError("Stopped before the mesh was up"));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
  const net = options.net;
  const mesh = await DemoMesh.start({ net, adminListen: formatSocketAddr(options.adminListen) }, {
    died: (_who, line) => screen.alarm(line),
    // what the filter refuses is no failure of the mesh
    failure: (line) => {
      if (terminal.verbose) screen.message(`a request failed: ${line}`);
    },
    log: (who, line) => {
      if (terminal.verbose) screen.message(`${who}: ${line}`);
    },
  }, stopped.signal);
  const onExit = () => mesh.children.kill();
  process.on("exit", onExit);
  try {
    const plan: Plan = { name, folder, service, config, callouts };
    await install(mesh, plan, first);
    welcome(mesh, plan, screen);
    mesh.go(options.rate);
    const end = new AbortController();
    const over = AbortSignal.any([stopped.signal, end.signal]);
    // a build that was taken back has had its say
    const builds = { serving: first, newest: first };
    const swaps: SwapOutcome[] = [];
    const watching = watchFilters({
      ...{ mesh, screen, stop: over, edited: new Set<string>(), folder, names: [name], compiler },
      mayRefuse: true,
      done: (outcome) => {
        swaps.push(outcome);
        if (outcome.done) builds.serving = builds.newest;
      },
      built: (_name, built) => {
        builds.newest = built;
      },
    });
    await show(
      mesh,
      plan,
      screen,
      over,
      options.durationMs ?? Infinity,
      swaps,
      () => builds.serving,
    );
    end.abort();
    await watching;
    return 0;
  } finally {
    await mesh.end();
    process.off("exit", onExit);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, stop);
  }
}

/** Puts the filter in front of its service, and waits until the proxies run it. */
async function install(mesh: DemoMesh, plan: Plan, built: CompiledFilter): Promise<void> {
  const { name, service, config, callouts } = plan;
  // the demo has filters of its own: one of the same name makes room
  const filters = join(mesh.folders.mesh, "filters.yaml");
  const documents = (await readFile(filters, "utf8")).split(/^---$/m);
  const others = documents.filter((text) => !new RegExp(`^ {2}name: ${name}$`, "m").test(text));
  if (others.length < documents.length) await writeFile(filters, others.join("---"));
  await writeFile(join(mesh.folders.modules, `${name}.dev.wasm`), built.wasm);
  // JSON is YAML
  await writeFile(
    join(mesh.folders.mesh, "dev.yaml"),
    JSON.stringify({
      apiVersion: "tulle.dev/v1alpha1",
      kind: "WasmFilter",
      metadata: { name, namespace: NAMESPACE },
      spec: {
        targetRef: { kind: "Service", name: service },
        order: 100,
        module: { sha256: built.sha256, file: `../../filters/build/${name}.dev.wasm` },
        ...(config === null ? {} : { config }),
        ...(Object.keys(callouts).length === 0 ? {} : { callouts }),
        failurePolicy: "Open",
      },
    }),
  );
  const lateMs = performance.now() + TAKEN_WITHIN_MS;
  let why = "";
  while (performance.now() < lateMs) {
    why = inTheWay(await mesh.stats(), name, built.sha256);
    if (why === "") return;
    if (why.includes("refuses")) break;
    await new Promise((again) => setTimeout(again, 50));
  }
  const map = mapOf(built, plan.folder, name);
  throw new CliError(`${name} does not run: ${map === null ? why : withPositions(why, map)}`);
}

function welcome(mesh: DemoMesh, { name, service }: Plan, screen: Screen): void {
  const web = mesh.pods.find((pod) => pod.app === "web");
  const target = service === "catalogue" ? "catalogue.shop.svc.cluster.local:8080/items" : service;
  screen.message(`${name} runs in front of ${service}.`);
  screen.message("");
  screen.message(`  dashboard   ${mesh.adminUrl}/`);
  screen.message(`  try it      curl -i -x http://${web?.ip}:${OUTBOUND_PORT} http://${target}`);
  screen.message(`  metrics     curl -s http://${web?.ip}:4191/metrics | grep ^filter_`);
  screen.message("");
}

/** Shows the mesh once a second, and each new trap of the filter, until it is over. */
async function show(
  mesh: DemoMesh,
  { name, folder }: Plan,
  screen: Screen,
  over: AbortSignal,
  durationMs: number,
  swaps: readonly SwapOutcome[],
  built: () => CompiledFilter,
): Promise<void> {
  const startedMs = performance.now();
  const views = new DemoViews(mesh, swaps, new FilterLedger(), await mesh.snapshot());
  let told = "";
  while (!over.aborted && performance.now() - startedMs < durationMs) {
    const leftMs = durationMs - (performance.now() - startedMs);
    await until(performance.now() + Math.min(VIEW_EVERY_MS, leftMs), over);
    if (over.aborted) return;
    screen.view(await views.next(performance.now() - startedMs));
    const now = built();
    const trapped = [...(await mesh.stats()).values()].flatMap(({ filters }) => filters)
      .find((f) => f.name === name && f.sha256 === now.sha256 && f.traps > 0 && f.lastError !== "");
    const reason = `${now.sha256} ${trapped?.lastError ?? ""}`;
    if (trapped === undefined || reason === told) continue;
    told = reason;
    const map = mapOf(now, folder, name);
    screen.alarm(
      `${name}: ${map === null ? trapped.lastError : withPositions(trapped.lastError, map)}`,
    );
  }
}

function calloutsOf(given: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(given.map((text) => {
    const [, name = "", service = ""] = /^([^=]+)=([^=]+:\d+)$/.exec(text) ?? [];
    if (name === "") throw usageError(`--callout ${quote(text)} is not NAME=HOST:PORT`);
    return [name, service];
  }));
}

async function readConfig(path: string | null): Promise<unknown> {
  return path === null ? null : await readJson("--config", path);
}
