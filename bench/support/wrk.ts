// The load: wrk, with a request like a browser's, and what its report says.

import { spawn } from "node:child_process";

/** How to load. */
export interface Load {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  readonly core: number | null;
}

/** What one run of wrk measured. */
export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Socket errors and answers other than 2xx and 3xx. */
  readonly errors: number;
}

/** With wrk's own `Host`, seven headers and some 390 bytes. */
export const HEADERS: readonly string[] = [
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
  "Accept-Language: en-GB,en;q=0.5",
  "Accept-Encoding: gzip, deflate, br",
  "X-Request-Id: 7f3b2c52-9d1e-4b5a-8a43-0c6c8f6f2f11",
  "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
];

/** Runs wrk once. Throws with its output when it fails. */
export async function load(at: Load): Promise<LoadResult> {
  const args = [
    "-t1",
    `-c${at.connections}`,
    `-d${at.seconds}s`,
    "--latency",
    ...HEADERS.flatMap((header) => ["-H", header]),
    `http://127.0.0.1:${at.port}/items/42?fields=name,price`,
  ];
  const pinned = at.core === null
    ? ["wrk", ...args]
    : ["taskset", "-c", String(at.core), "wrk", ...args];
  const [command = "wrk", ...rest] = pinned;
  const output = await new Promise<string>((resolve, reject) => {
    const child = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => text += chunk);
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => text += chunk);
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(text);
      else reject(new Error(`wrk ended with status ${code}: ${text.trim()}`));
    });
  });
  return parseReport(output);
}

/** Reads wrk's report. Throws when a figure is missing: a report half understood is no result. */
export function parseReport(text: string): LoadResult {
  const find = (what: string, pattern: RegExp): string => {
    const found = pattern.exec(text)?.[1];
    if (found === undefined) throw new Error(`wrk's report has no ${what}: ${text.trim()}`);
    return found;
  };
  const socket = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? "0";
  return {
    requests: Number(find("count of requests", /(\d+) requests in /)),
    requestsPerSecond: Number(find("rate", /Requests\/sec:\s+([\d.]+)/)),
    p50Ms: milliseconds(find("median", /^\s+50%\s+(\S+)/m)),
    p99Ms: milliseconds(find("99th percentile", /^\s+99%\s+(\S+)/m)),
    errors: Number(bad) + (socket?.slice(1).reduce((n, x) => n + Number(x), 0) ?? 0),
  };
}

function milliseconds(text: string): number {
  const m = /^([\d.]+)(us|ms|s|m)$/.exec(text);
  const factor = { us: 0.001, ms: 1, s: 1000, m: 60_000 }[m?.[2] ?? ""];
  if (m === null || factor === undefined) throw new Error(`wrk's report has the time "${text}"`);
  return Number(m[1]) * factor;
}
