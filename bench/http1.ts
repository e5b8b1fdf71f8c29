// HTTP/1.1, small answers, connections kept: what our proxy costs per request, beside nginx and
// HAProxy. All proxies are kept running and loaded in turn, round by round, so that a machine that
// changes its speed changes it for all; the ratio is the figure to trust.
//
// Proxies run on core 0, load and upstream on core 1. The upstream is nginx that returns 117 bytes of
// JSON; the request has seven headers. CPU is what the kernel counted for all threads of the proxy, once it
// has answered enough for its code to be compiled.

import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { freePort } from "../test/support/free-port.ts";
import { denoPath } from "../tools/runner/runtimes.ts";
import { FILTERED, filterFlags } from "./support/filters.ts";
import { haproxy, missingPrograms, nginxProxy, programVersion, upstream } from "./support/peers.ts";
import { type Start, start, type Started } from "./support/started.ts";
import { machine, median, table } from "./support/table.ts";
import { type Load, load, type LoadResult } from "./support/wrk.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const PEERS = ["nginx", "haproxy"];
/** Until a proxy has answered so many, its code is still being compiled, on the same core. */
const WARM_UP_REQUESTS = 100_000;
const WARM_UP_MAX_SECONDS = 15;

/** One proxy's figures: medians over rounds. */
export interface Row {
  readonly name: string;
  readonly cpuMicros: number;
  /** CPU per request against the better peer in the same round. */
  readonly ratio: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssMiB: number;
  readonly errors: number;
}

/** What one proxy did in one round. */
export interface Round extends LoadResult {
  readonly cpuMicros: number;
}

/** What `--json` prints. */
interface Report {
  readonly bench: "http1";
  readonly machine: string;
  readonly versions: readonly string[];
  readonly connections: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly betterPeer: string;
  readonly rows: readonly Row[];
}

const USAGE = `Usage: npm run bench -- http1 [flags]
  --seconds N      load each proxy for N seconds a round (2)
  --rounds N       rounds; the median counts (5)
  --connections N  connections of the load, all kept open (50)
  --only WORD      only proxies whose name contains WORD, beside the peers
  --workers N      measure ours with N worker threads, too; all share the proxies' core
  --max-ratio N    exit status 1 when "tulle" costs more than N times the better peer
  --json           print one JSON document instead of a table`;

/** Runs the bench with the arguments after its name. Gives the exit status. */
export async function http1(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seconds: { type: "string", default: "2" },
      rounds: { type: "string", default: "5" },
      connections: { type: "string", default: "50" },
      only: { type: "string" },
      workers: { type: "string" },
      "max-ratio": { type: "string" },
      json: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const missing = missingPrograms();
  if (missing !== null) {
    console.error(`bench: ${missing}`);
    return 1;
  }
  const seconds = positive("--seconds", values.seconds);
  const rounds = positive("--rounds", values.rounds);
  const connections = positive("--connections", values.connections);
  const workers = values.workers === undefined ? null : positive("--workers", values.workers);
  const maxRatio = values["max-ratio"] === undefined ? null : Number(values["max-ratio"]);
  const say = values.json === true ? () => {} : (text: string) => console.error(text);

  const dir = await mkdtemp(join(tmpdir(), "tulle-bench-"));
  const running: Started[] = [];
  const end = async () => {
    await Promise.all(running.splice(0).map((p) => p.stop()));
    await rm(dir, { recursive: true, force: true });
  };
  const onSignal = () => void end().finally(() => process.exit(130));
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    // Two cores: what is measured alone on one. One core: all together, and the ratio still says something.
    const two = availableParallelism() >= 2;
    const [proxyCore, loadCore] = two ? [0, 1] : [null, null];
    const up = await start(await upstream(dir, await freePort(), loadCore));
    running.push(up);
    const proxies: Started[] = [];
    for (const what of await candidates(dir, up.port, proxyCore, workers)) {
      const isPeer = PEERS.includes(what.name);
      if (!isPeer && values.only !== undefined && !what.name.includes(values.only)) continue;
      say(`starting ${what.name}`);
      const p = await start(what);
      proxies.push(p);
      running.push(p);
    }
    const measured = new Map<string, Round[]>(proxies.map((p) => [p.name, []]));
    for (const p of proxies) {
      say(`warming ${p.name} up`);
      await warmUp({ port: p.port, connections, seconds: 1, core: loadCore });
    }
    for (let round = 1; round <= rounds; round++) {
      say(`round ${round} of ${rounds}`);
      for (const p of proxies) {
        const before = await p.cpuNs();
        const result = await load({ port: p.port, connections, seconds, core: loadCore });
        p.check();
        const cpuMicros = (await p.cpuNs() - before) / 1000 / Math.max(1, result.requests);
        measured.get(p.name)?.push({ ...result, cpuMicros });
      }
    }
    const rss = new Map<string, number>();
    for (const p of proxies) rss.set(p.name, await p.rssMiB());
    const { betterPeer, rows } = summarize(measured, rss);
    const versions = [
      ...PEERS.map(programVersion),
      `Node ${process.versions.node}`,
    ];
    const report: Report = {
      bench: "http1",
      machine: machine(),
      versions,
      connections,
      seconds,
      rounds,
      betterPeer,
      rows,
    };
    console.log(values.json === true ? JSON.stringify(report, null, 2) : print(report));
    return verdict(rows, maxRatio);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await end();
  }
}

/** The peers, and ours in every variant that can run here. */
async function candidates(
  dir: string,
  to: number,
  core: number | null,
  workers: number | null,
): Promise<Start[]> {
  const list = [
    await nginxProxy(dir, await freePort(), to, core),
    await haproxy(dir, await freePort(), to, core),
  ];
  const ours = async (name: string, command: string, before: string[], more: string[]) => {
    const port = await freePort();
    const args = [...before, "proxy", "--listen", `127.0.0.1:${port}`, "--to", `127.0.0.1:${to}`];
    const header = more === filters ? { header: FILTERED } : {};
    list.push({ name, command, args: [...args, ...more], cwd: root, core, port, ...header });
  };
  const filters = await filterFlags(root, dir);
  const node = [join(root, "bin/tulle.js")];
  const deno = ["run", "-A", "--no-prompt", join(root, "src/cli/main.ts")];
  await ours("tulle", process.execPath, node, []);
  if (filters.length > 0) await ours("tulle, 3 filters", process.execPath, node, filters);
  await ours("tulle on Deno", denoPath(root), deno, []);
  if (workers !== null) {
    const more = ["--workers", String(workers)];
    await ours(`tulle, ${workers} workers`, process.execPath, node, more);
    await ours(`tulle on Deno, ${workers} workers`, denoPath(root), deno, more);
  }
  if (filters.length > 0) await ours("tulle on Deno, 3 filters", denoPath(root), deno, filters);
  return list;
}

/** Loads it by the second until it has answered enough, or for long enough. */
async function warmUp(at: Load): Promise<void> {
  let answered = 0;
  for (let i = 0; i < WARM_UP_MAX_SECONDS && answered < WARM_UP_REQUESTS; i++) {
    answered += (await load(at)).requests;
  }
}

/** Medians, and ratios against the peer that is better over all rounds. */
export function summarize(
  measured: ReadonlyMap<string, readonly Round[]>,
  rss: ReadonlyMap<string, number>,
): { betterPeer: string; rows: Row[] } {
  const of = (name: string) => measured.get(name) ?? [];
  const cpu = (name: string) => median(of(name).map((r) => r.cpuMicros));
  const [betterPeer = ""] = [...PEERS].sort((a, b) => cpu(a) - cpu(b));
  const base = of(betterPeer);
  const rows = [...measured].map(([name, rounds]): Row => ({
    name,
    cpuMicros: cpu(name),
    ratio: median(rounds.map((r, i) => r.cpuMicros / (base[i]?.cpuMicros ?? NaN))),
    requestsPerSecond: median(rounds.map((r) => r.requestsPerSecond)),
    p50Ms: median(rounds.map((r) => r.p50Ms)),
    p99Ms: median(rounds.map((r) => r.p99Ms)),
    rssMiB: rss.get(name) ?? 0,
    errors: rounds.reduce((n, r) => n + r.errors, 0),
  }));
  return { betterPeer, rows };
}

/** 1 when an answer was wrong, or when ours costs more than it may. */
function verdict(rows: readonly Row[], maxRatio: number | null): number {
  let status = 0;
  for (const row of rows) {
    if (row.errors === 0) continue;
    console.error(`bench: ${row.name} had ${row.errors} errors: its figures are not comparable`);
    status = 1;
  }
  const ours = rows.find((r) => r.name === "tulle");
  if (maxRatio !== null && !(ours !== undefined && ours.ratio <= maxRatio)) {
    console.error(
      `bench: tulle costs ${ours?.ratio.toFixed(2)} times the better peer, more than ${maxRatio}`,
    );
    status = 1;
  }
  return status;
}

function print(r: Report): string {
  const head = [
    "",
    "CPU µs/request",
    `× ${r.betterPeer}`,
    "requests/s",
    "p50 ms",
    "p99 ms",
    "RSS MiB",
  ];
  const rows = r.rows.map((row) => [
    row.name,
    row.cpuMicros.toFixed(1),
    row.ratio.toFixed(2),
    row.requestsPerSecond.toFixed(0),
    row.p50Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    row.rssMiB.toFixed(0),
  ]);
  const how = `${r.connections} connections, ${r.rounds} rounds of ${r.seconds} s each, medians`;
  return `${table(head, rows)}\n\n${how}\n${r.versions.join(", ")}\n${r.machine}`;
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 3600) {
    throw new Error(`${flag} ${text} is not a whole number from 1 to 3600`);
  }
  return value;
}
