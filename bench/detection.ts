// How long a client waits for the first byte where nobody has said what is spoken: from its connect to
// the byte, for a server that speaks first while the client is silent, and for one that answers. Beside
// a direct connection and HAProxy, which looks at nothing in TCP mode; the ways take turns, round by
// round. Linkerd's proxy waits for a silent client by its documented time-out, 10 s, unless the port is
// marked as opaque.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { material } from "../test/support/driver-fixture.ts";
import { freePort } from "../test/support/free-port.ts";
import { createTestCa } from "../test/support/test-ca.ts";
import { denoPath } from "../tools/runner/runtimes.ts";
import { haproxyTcp, programVersion } from "./support/peers.ts";
import { start, type Started } from "./support/started.ts";
import { machine, median, table } from "./support/table.ts";
import { BANNER, firstByteMs, speakingServer } from "./support/speaking.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const SERVER = "bench-server.test";
const CLIENT = "bench-client.test";

/** Milliseconds of one way; each a median over rounds, `worstMs` the largest of all. */
export interface DetectionRow {
  readonly name: string;
  readonly serverFirstMs: number;
  readonly worstMs: number;
  /** Against HAProxy in the same round. */
  readonly serverFirstRatio: number;
  readonly clientFirstMs: number;
  readonly clientFirstRatio: number;
}

/** What one way did in one round: a time for each connection. */
export interface DetectionRound {
  readonly serverFirst: readonly number[];
  readonly clientFirst: readonly number[];
}

const USAGE = `Usage: npm run bench -- detection [flags]
  --connections N  connections of each kind for each way in a round (20)
  --rounds N       rounds; the median counts (5)
  --max-ms N       exit status 1 when a silent client of "tulle" waits longer than N ms, in the median
  --json           print one JSON document instead of a table`;

/** Runs the bench with the arguments after its name. Gives the exit status. */
export async function detection(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      connections: { type: "string", default: "20" },
      rounds: { type: "string", default: "5" },
      "max-ms": { type: "string" },
      json: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const [connections, rounds] = [Number(values.connections), Number(values.rounds)];
  if (!(connections >= 1 && connections <= 1000 && rounds >= 1 && rounds <= 1000)) {
    throw new Error("--connections and --rounds are whole numbers from 1 to 1000");
  }
  const say = values.json === true ? () => {} : (text: string) => console.error(text);
  const dir = await mkdtemp(join(tmpdir(), "tulle-bench-"));
  const running: Started[] = [];
  const server = await speakingServer();
  const end = async () => {
    await Promise.all(running.splice(0).map((p) => p.stop()));
    await server.close();
    await rm(dir, { recursive: true, force: true });
  };
  const onSignal = () => void end().finally(() => process.exit(130));
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    const ways = await startWays(dir, server.port, running, say);
    const measured = new Map<string, DetectionRound[]>(ways.map(([name]) => [name, []]));
    for (let round = 0; round <= rounds; round++) {
      if (round > 0) say(`round ${round} of ${rounds}`);
      for (const [name, port] of ways) {
        const times: DetectionRound = { serverFirst: [], clientFirst: [] };
        for (const kind of ["serverFirst", "clientFirst"] as const) {
          server.speak(kind);
          const all: number[] = [];
          for (let i = 0; i < connections; i++) {
            all.push(await firstByteMs(port, kind === "serverFirst" ? null : "PING\r\n", BANNER));
          }
          Object.assign(times, { [kind]: all });
        }
        // The first round warms up.
        if (round > 0) measured.get(name)?.push(times);
      }
      for (const p of running) p.check();
    }
    const rows = summarizeDetection(measured);
    const report = {
      bench: "detection",
      machine: machine(),
      versions: [programVersion("haproxy"), `Node ${process.versions.node}`],
      connections,
      rounds,
      rows,
    };
    console.log(values.json === true ? JSON.stringify(report, null, 2) : print(report));
    return verdict(rows, values["max-ms"] === undefined ? null : Number(values["max-ms"]));
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await end();
  }
}

/** Starts every proxy; a way is its name and the port that clients connect to. */
async function startWays(
  dir: string,
  to: number,
  running: Started[],
  say: (text: string) => void,
): Promise<[name: string, port: number][]> {
  const ca = await createTestCa();
  const identities = await Promise.all([SERVER, CLIENT].map(async (name) => {
    const folder = join(dir, name);
    await mkdir(folder);
    const { keyPem, certPem, anchorsPem } = await material(ca, name);
    const files = { "tls.key": keyPem, "tls.crt": certPem, "ca.crt": anchorsPem };
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
    return folder;
  }));
  const [serverId = "", clientId = ""] = identities;
  const ways: [string, number][] = [["direct", to]];
  const add = async (name: string, what: Omit<Parameters<typeof start>[0], "name">) => {
    say(`starting ${name}`);
    running.push(await start({ name, ...what }));
    ways.push([name, what.port]);
  };
  await add("haproxy", await haproxyTcp(dir, await freePort(), to, null));
  const node = { command: process.execPath, before: [join(root, "bin/tulle.js")] };
  const main = join(root, "src/cli/main.ts");
  const deno = { command: denoPath(root), before: ["run", "-A", "--no-prompt", main] };
  for (const [on, { command, before }] of [["", node], [" on Deno", deno]] as const) {
    const tulle = async (name: string, at: number, ...more: string[]) => {
      const port = await freePort();
      const args = [...before, "proxy", "--listen", `127.0.0.1:${port}`, "--to", `127.0.0.1:${at}`];
      await add(`${name}${on}`, { command, args: [...args, ...more], cwd: root, core: null, port });
      return port;
    };
    await tulle("tulle", to);
    const inbound = await tulle("tulle inbound", to, "--inbound", "--identity", serverId);
    const both = ["--identity", clientId, "--require-id", SERVER];
    await tulle("two tulles, mTLS", inbound, ...both);
  }
  return ways;
}

/** Medians over rounds of each round's median, and ratios against HAProxy in the same round. */
export function summarizeDetection(
  measured: ReadonlyMap<string, readonly DetectionRound[]>,
): DetectionRow[] {
  const of = (name: string, kind: keyof DetectionRound) =>
    (measured.get(name) ?? []).map((round) => median(round[kind]));
  return [...measured].map(([name, rounds]) => {
    const ratio = (kind: keyof DetectionRound) => {
      const base = of("haproxy", kind);
      return median(of(name, kind).map((ms, i) => ms / (base[i] ?? NaN)));
    };
    return {
      name,
      serverFirstMs: median(of(name, "serverFirst")),
      worstMs: Math.max(...rounds.flatMap((round) => round.serverFirst)),
      serverFirstRatio: ratio("serverFirst"),
      clientFirstMs: median(of(name, "clientFirst")),
      clientFirstRatio: ratio("clientFirst"),
    };
  });
}

function verdict(rows: readonly DetectionRow[], maxMs: number | null): number {
  const ours = rows.find((row) => row.name === "tulle");
  if (maxMs === null || (ours !== undefined && ours.serverFirstMs <= maxMs)) return 0;
  console.error(
    `bench: a silent client of tulle waits ${
      ours?.serverFirstMs.toFixed(0)
    } ms, more than ${maxMs}`,
  );
  return 1;
}

function print(r: {
  readonly rows: readonly DetectionRow[];
  readonly connections: number;
  readonly rounds: number;
  readonly versions: readonly string[];
  readonly machine: string;
}): string {
  const head = ["", "server first ms", "worst ms", "× haproxy", "client first ms", "× haproxy"];
  const rows = r.rows.map((row) => [
    row.name,
    row.serverFirstMs.toFixed(2),
    row.worstMs.toFixed(2),
    row.serverFirstRatio.toFixed(1),
    row.clientFirstMs.toFixed(2),
    row.clientFirstRatio.toFixed(2),
  ]);
  const how = `${r.connections} connections of each kind a round, ${r.rounds} rounds, medians; ` +
    "no port is marked as opaque";
  return `${table(head, rows)}\n\n${how}\n${r.versions.join(", ")}\n${r.machine}`;
}
