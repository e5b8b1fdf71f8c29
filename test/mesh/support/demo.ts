// Starts `tulle demo` as a user does, with this runtime, and asks through its pods.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** A running demo. */
export interface Demo {
  readonly child: ChildProcess;
  out(): string;
  err(): string;
  /** Resolves when stdout has it; rejects when the demo ends before. */
  until(text: string | RegExp): Promise<void>;
  /** The same for stderr. */
  untilErr(text: string | RegExp): Promise<void>;
  /** The exit status. */
  readonly ended: Promise<number | null>;
}

/** Starts it in a network of its own, with any free port for the dashboard. */
export function startDemo(of: { net: string }, ...args: readonly string[]): Demo {
  const runtime = process.versions.deno === undefined ? [] : denoArgs();
  const given = ["demo", "--net", of.net, "--admin", "127.0.0.1:0", ...args];
  const child = spawn(process.execPath, [...runtime, "src/cli/main.ts", ...given], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    // as tools/deno/deno.js does, so that --allow-run=deno means this Deno
    env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` },
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = once(child, "close").then(([code]) => code as number | null);
  const seen = (stream: NodeJS.ReadableStream, all: () => string) => (text: string | RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (typeof text === "string" ? all().includes(text) : text.test(all())) resolve();
      };
      stream.on("data", look);
      look();
      void ended.then(() => reject(new Error(`the demo ended: ${out}${err}`)));
    });
  return {
    child,
    out: () => out,
    err: () => err,
    until: seen(child.stdout, () => out),
    untilErr: seen(child.stderr, () => err),
    ended,
  };
}

/** The rights that the package's own command gives. */
function denoArgs(): readonly string[] {
  const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as {
    scripts: Record<string, string>;
  };
  const words = (scripts["start:deno"] ?? "").split(" ");
  return words.slice(words.indexOf("run"), words.indexOf("src/cli/main.ts"));
}

/** One GET through the outbound proxy of pod number `pod`. */
export function through(
  net: string,
  pod: number,
  url: string,
): Promise<{ status: number; headers: IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    const sent = request({
      host: `${net}.1.${pod}`,
      port: 4140,
      path: url,
      headers: { host: new URL(url).host },
    });
    sent.on("response", (response) => {
      response.resume();
      response.on(
        "end",
        () => resolve({ status: response.statusCode ?? 0, headers: response.headers }),
      );
    });
    sent.on("error", reject);
    sent.end();
  });
}
