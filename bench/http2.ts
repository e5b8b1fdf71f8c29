// HTTP/2 without TLS from clients, HTTP/1 or HTTP/2 to the application: what our proxy costs per request,
// beside nginx and HAProxy doing the same. As in http1.ts, all are kept running and loaded in turn, the
// proxies on core 0, load and upstream on core 1; the ratio is the figure to trust.

import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { freePort } from "../test/support/free-port.ts";
import { denoPath } from "../tools/runner/runtimes.ts";
import { CALL_FIELDS, type H2Load, h2load, missingH2Load } from "./support/h2load.ts";
import {
  haproxyHttp2,
  missingPrograms,
  nginxHttp2,
  programVersion,
  upstream,
  upstreamHttp2,
} from "./support/peers.ts";
import { type Start, start, type Started } from "./support/started.ts";
import { machine, median, table } from "./support/table.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const PEERS = ["nginx", "haproxy"];
const WARM_UP_SECONDS = 2;

const USAGE = `Usage: npm run bench -- http2 [flags]
  --seconds N      load each proxy for N seconds a round (2)
  --rounds N       rounds; the median counts (5)
  --connections N  connections of the load (10)
  --streams N      requests at once on each connection (10)
  --to NAME        what the application speaks, http1 or http2 (http1)
  --json           print one JSON document instead of a table`;

/** A proxy to measure: where it answers HTTP/1 once it is ready, and where it takes HTTP/2. */
interface Candidate {
  readonly what: Start;
  readonly port: number;
}

/** What one proxy did in one round. */
interface Round extends H2Load {
  readonly cpuMicros: number;
}

/** Runs the bench with the arguments after its name. Gives the exit status. */
export async function http2(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seconds: { type: "string", default: "2" },
      rounds: { type: "string", default: "5" },
      connections: { type: "string", default: "10" },
      streams: { type: "string", default: "10" },
      to: { type: "string", default: "http1" },
      json: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const missing = missingPrograms() ?? missingH2Load();
  if (missing !== null) {
    console.error(`bench: ${missing}`);
    return 1;
  }
  const numbers = ["seconds", "rounds", "connections", "streams"] as const;
  const [seconds, rounds, connections, streams] = numbers.map((name) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 1 || value > 3600) {
      throw new Error(`--${name} ${values[name]} is not a whole number from 1 to 3600`);
    }
    return value;
  }) as [number, number, number, number];

  const { to: speaks } = values;
  if (speaks !== "http1" && speaks !== "http2") {
    throw new Error(`--to ${speaks} is not http1 or http2`);
  }

  const dir = await mkdtemp(join(tmpdir(), "tulle-bench-"));
  const running: Started[] = [];
  const end = async () => {
    await Promise.all(running.splice(0).map((p) => p.stop()));
    await rm(dir, { recursive: true, force: true });
  };
  const onSignal = () => void end().finally(() => process.exit(130));
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    const [core, loadCore] = availableParallelism() >= 2 ? [0, 1] : [null, null];
    const to = await freePort();
    const app = speaks === "http1"
      ? upstream(dir, to, loadCore)
      : upstreamHttp2(dir, to, await freePort(), loadCore);
    running.push(await start(await app));
    const proxies: { started: Started; port: number; rounds: Round[] }[] = [];
    for (const { what, port } of await candidates(dir, to, speaks, core)) {
      console.error(`starting ${what.name}`);
      const started = await start(what);
      running.push(started);
      proxies.push({ started, port, rounds: [] });
    }
    const load = (port: number, forSeconds: number) =>
      h2load({
        ...{ port, connections, streams, seconds: forSeconds, core: loadCore },
        fields: speaks === "http2" ? CALL_FIELDS : [],
      });
    for (const { port } of proxies) await load(port, WARM_UP_SECONDS);
    for (let round = 1; round <= rounds; round++) {
      console.error(`round ${round} of ${rounds}`);
      for (const p of proxies) {
        const before = await p.started.cpuNs();
        const result = await load(p.port, seconds);
        p.started.check();
        const cpuMicros = (await p.started.cpuNs() - before) / 1000 / Math.max(1, result.requests);
        p.rounds.push({ ...result, cpuMicros });
      }
    }
    const rows = proxies.map(({ started, rounds }) => ({ name: started.name, rounds }));
    const report = {
      bench: "http2",
      to: speaks,
      machine: machine(),
      versions: [...PEERS.map(programVersion), `Node ${process.versions.node}`],
      connections,
      streams,
      seconds,
      rounds,
      ...summarizeHttp2(rows),
    };
    console.log(values.json === true ? JSON.stringify(report, null, 2) : print(report));
    const failed = report.rows.filter((row) => row.errors > 0);
    for (const row of failed) {
      console.error(`bench: ${row.name} had ${row.errors} errors: its figures are not comparable`);
    }
    return failed.length > 0 ? 1 : 0;
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await end();
  }
}

async function candidates(
  dir: string,
  to: number,
  speaks: "http1" | "http2",
  core: number | null,
): Promise<Candidate[]> {
  const list: Candidate[] = [];
  for (const make of [nginxHttp2, haproxyHttp2]) {
    const port = await freePort();
    list.push({ what: await make(dir, { port, ready: await freePort(), to, speaks, core }), port });
  }
  const ours = async (name: string, command: string, before: readonly string[]) => {
    const port = await freePort();
    const args = [...before, "proxy", "--listen", `127.0.0.1:${port}`];
    args.push("--to", `127.0.0.1:${to}`, "--upstream-protocol", speaks);
    list.push({ what: { name, command, args, cwd: root, core, port }, port });
  };
  await ours("tulle", process.execPath, [join(root, "bin/tulle.js")]);
  const deno = ["run", "-A", "--no-prompt", join(root, "src/cli/main.ts")];
  await ours("tulle on Deno", denoPath(root), deno);
  return list;
}

/** Medians, and ratios against the peer that costs less over all rounds. */
export function summarizeHttp2(
  all: readonly { readonly name: string; readonly rounds: readonly Round[] }[],
) {
  const of = (name: string) => all.find((p) => p.name === name)?.rounds ?? [];
  const cpu = (rounds: readonly Round[]) => median(rounds.map((r) => r.cpuMicros));
  const [betterPeer = ""] = [...PEERS].sort((a, b) => cpu(of(a)) - cpu(of(b)));
  const base = of(betterPeer);
  const rows = all.map(({ name, rounds }) => ({
    name,
    cpuMicros: cpu(rounds),
    ratio: median(rounds.map((r, i) => r.cpuMicros / (base[i]?.cpuMicros ?? NaN))),
    requestsPerSecond: median(rounds.map((r) => r.requestsPerSecond)),
    meanMs: median(rounds.map((r) => r.meanMs)),
    errors: rounds.reduce((n, r) => n + r.errors, 0),
  }));
  return { betterPeer, rows };
}

function print(
  r: ReturnType<typeof summarizeHttp2> & {
    readonly to: string;
    readonly machine: string;
    readonly versions: readonly string[];
    readonly connections: number;
    readonly streams: number;
    readonly seconds: number;
    readonly rounds: number;
  },
): string {
  const head = ["", "CPU µs/request", `× ${r.betterPeer}`, "requests/s", "mean ms"];
  const rows = r.rows.map((row) => [
    row.name,
    row.cpuMicros.toFixed(1),
    row.ratio.toFixed(2),
    row.requestsPerSecond.toFixed(0),
    row.meanMs.toFixed(2),
  ]);
  const how = `HTTP/2 to ${r.to}, ${r.connections} connections of ${r.streams} streams, ` +
    `${r.rounds} rounds of ${r.seconds} s each, medians`;
  return `${table(head, rows)}\n\n${how}\n${r.versions.join(", ")}\n${r.machine}`;
}
