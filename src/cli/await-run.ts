// What `tulle await` does: starts an application when its proxy is ready, and ends the proxy with it.

import { spawn } from "node:child_process";
import process from "node:process";
import { SYSTEM_CLOCK } from "../runtime/process.ts";
import { createHttpClient, type HttpClient } from "../runtime/http-client.ts";
import { delay } from "../core/clock.ts";
import type { Terminal } from "./command.ts";
import { CliError } from "./failure.ts";
import { type Flags, parseDurationMs, parseWhole } from "./flags.ts";

/** Waits for a proxy. */
export async function awaitProxy(flags: Flags, terminal: Terminal): Promise<number> {
  const port = parseWhole("--port", flags.text("--port") ?? "4191", 1, 65535);
  const timeout = flags.text("--timeout");
  const timeoutMs = timeout === null ? Infinity : parseDurationMs("--timeout", timeout);
  const backoffMs = parseDurationMs("--backoff", flags.text("--backoff") ?? "1s");
  const http = createHttpClient({ connectTimeoutMs: 1_000 });
  try {
    await untilReady(http, port, timeoutMs, backoffMs, terminal);
    const words = flags.operands.flatMap((word) => word.split(" ")).filter((w) => w !== "");
    const [command, ...args] = words;
    if (command === undefined) return 0;
    const status = await runChild(command, args);
    if (flags.has("--shutdown")) await shutdown(http, port, terminal);
    return status;
  } finally {
    await http.close();
  }
}

async function untilReady(
  http: HttpClient,
  port: number,
  timeoutMs: number,
  backoffMs: number,
  terminal: Terminal,
): Promise<void> {
  const end = SYSTEM_CLOCK.now() + timeoutMs;
  let last = "";
  let told = "";
  while (true) {
    try {
      const { status } = await http.request({
        url: `http://127.0.0.1:${port}/ready`,
        timeoutMs: Math.max(1, Math.min(1_000, end - SYSTEM_CLOCK.now())),
        maxBytes: 4096,
      });
      if (status >= 200 && status < 300) return;
      last = `it answers ${status}`;
    } catch {
      last = "it does not answer";
    }
    const leftMs = end - SYSTEM_CLOCK.now();
    if (leftMs <= 0) throw new CliError(`The proxy on port ${port} is not ready in time: ${last}`);
    // Once for each reason: whoever waits for ever should know for what.
    if (last !== told) terminal.err(`Waiting for the proxy on port ${port}: ${last}`);
    told = last;
    await delay(SYSTEM_CLOCK, Math.min(backoffMs, leftMs));
  }
}

/** With our streams and the signals that we get. Resolves with its status, or 128 and the signal. */
function runChild(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit" });
    const pass = (signal: NodeJS.Signals) => void child.kill(signal);
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, pass);
    const done = () => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.off(signal, pass);
    };
    child.once("error", (e) => {
      done();
      reject(new CliError(`${command} cannot be started: ${e.message}`, { exit: 127 }));
    });
    child.once("exit", (code, signal) => {
      done();
      resolve(code ?? (signal === "SIGTERM" ? 143 : signal === "SIGINT" ? 130 : 137));
    });
  });
}

async function shutdown(http: HttpClient, port: number, terminal: Terminal): Promise<void> {
  try {
    const { status } = await http.request({
      url: `http://127.0.0.1:${port}/shutdown`,
      method: "POST",
      timeoutMs: 2_000,
      maxBytes: 4096,
    });
    if (status >= 300) terminal.err(`The proxy does not end: /shutdown answered ${status}`);
  } catch {
    terminal.err("The proxy does not end: it does not answer");
  }
}
