// h2load as the load of the HTTP/2 benches: starts it, and reads what it prints.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

/** What one run of h2load did. */
export interface H2Load {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Mean time of a request. */
  readonly meanMs: number;
  /** Failed, errored, timed out, or not 2xx. */
  readonly errors: number;
}

/** Connections, streams on each at once, and for how long. */
export interface H2LoadOptions {
  readonly port: number;
  readonly connections: number;
  readonly streams: number;
  readonly seconds: number;
  readonly core: number | null;
  /** Fields beside the usual ones, `name: value`. */
  readonly fields?: readonly string[];
}

/** What a call of gRPC says, with a trace: what goes from proxy to proxy over HTTP/2. */
export const CALL_FIELDS: readonly string[] = [
  "content-type: application/grpc",
  "te: trailers",
  "grpc-accept-encoding: gzip",
  "grpc-timeout: 4999962u",
  "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
];

/** Loads `http://127.0.0.1:PORT/items/42` over HTTP/2 with prior knowledge. */
export async function h2load(o: H2LoadOptions): Promise<H2Load> {
  const args = [
    ...["-D", String(o.seconds), "-c", String(o.connections), "-m", String(o.streams)],
    ...["-H", "accept: application/json", "-H", "user-agent: bench", "-H", "x-request-id: 4f2a"],
    ...(o.fields ?? []).flatMap((field) => ["-H", field]),
    `http://127.0.0.1:${o.port}/items/42`,
  ];
  const [command, all] = o.core === null
    ? ["h2load", args] as const
    : ["taskset", ["-c", String(o.core), "h2load", ...args]] as const;
  const child = spawn(command, all, { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (out += text));
  }
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`h2load ended with ${code}: ${out.trim().slice(-500)}`);
  return parseH2Load(out);
}

/** Reads h2load's report. Throws when it is not one. */
export function parseH2Load(out: string): H2Load {
  const finished = /finished in [^,]+, ([\d.]+) req\/s/.exec(out);
  const counts =
    /requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/
      .exec(out);
  const codes = /status codes: (\d+) 2xx/.exec(out);
  const times = /time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)/.exec(out);
  if (finished === null || counts === null || codes === null || times === null) {
    throw new Error(`h2load printed no report: ${out.trim().slice(-500)}`);
  }
  const [done, , failed, errored, timeout] = counts.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const scale = { us: 0.001, ms: 1, s: 1000 }[times[2] as "us" | "ms" | "s"];
  // Requests under way when the time is over have a status and are not done: those are not errors.
  const wrong = Math.max(0, done - Number(codes[1]));
  return {
    requests: done,
    requestsPerSecond: Number(finished[1]),
    meanMs: Number(times[1]) * scale,
    errors: failed + errored + timeout + wrong,
  };
}

/** What to say when h2load is missing, or null. */
export function missingH2Load(): string | null {
  return spawnSync("which", ["h2load"]).status === 0
    ? null
    : "h2load not found: run tools/setup-debian, or apt-get install nghttp2-client";
}
