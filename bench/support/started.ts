// Processes that a bench starts: pinned to a core, waited for until they answer, measured by what the
// kernel says that they ran, and ended by their process id when the bench ends.

import { type ChildProcess, spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { request } from "node:http";

/** A process to start. */
export interface Start {
  /** For messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The core that all its threads run on; null: any. */
  readonly core: number | null;
  /** It is ready when a GET there gives 200, with `header` where one is named. */
  readonly port: number;
  readonly header?: { readonly name: string; readonly value: string };
}

/** A started process. */
export interface Started {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  /** Throws a sentence with its last output when it has ended. */
  check(): void;
  /** Run time of all its threads and children so far, in nanoseconds. */
  cpuNs(): Promise<number>;
  /** Resident memory of it and its children, in MiB. */
  rssMiB(): Promise<number>;
  stop(): Promise<void>;
}

const READY_MS = 15_000;
const GRACE_MS = 2_000;

/** Starts it and waits until it answers. Throws with its output when it does not. */
export async function start(what: Start): Promise<Started> {
  const pinned = what.core === null
    ? { command: what.command, args: [...what.args] }
    : { command: "taskset", args: ["-c", String(what.core), what.command, ...what.args] };
  const child = spawn(pinned.command, pinned.args, {
    cwd: what.cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const listen = (chunk: string) => {
    said = (said + chunk).slice(-4000);
  };
  child.stdout.setEncoding("utf8").on("data", listen);
  child.stderr.setEncoding("utf8").on("data", listen);
  let over: string | null = null;
  child.once("error", (e) => over ??= e.message);
  child.once("exit", (code, signal) => over ??= `ended with ${signal ?? `status ${code}`}`);
  const check = () => {
    if (over !== null) throw new Error(`${what.name} ${over}\n${said.trim()}`);
  };
  const started: Started = {
    name: what.name,
    pid: child.pid ?? 0,
    port: what.port,
    check,
    cpuNs: () => sum(child.pid, cpuOf),
    rssMiB: () => sum(child.pid, rssOf),
    stop: () => stop(child),
  };
  try {
    await ready(what, check);
  } catch (e) {
    await stop(child);
    throw e;
  }
  return started;
}

async function ready(what: Start, check: () => void): Promise<void> {
  const untilMs = performance.now() + READY_MS;
  for (;;) {
    check();
    if (await answers(what)) return;
    if (performance.now() > untilMs) {
      throw new Error(
        `${what.name} does not answer on port ${what.port} after ${READY_MS / 1000} s`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function answers({ port, header }: Start): Promise<boolean> {
  return new Promise((resolve) => {
    const req = request({ host: "127.0.0.1", port, path: "/", agent: false, timeout: 2000 });
    req.once("response", (res) => {
      res.resume();
      const right = header === undefined || res.headers[header.name] === header.value;
      res.once("close", () => resolve(res.statusCode === 200 && right));
    });
    req.once("timeout", () => req.destroy());
    req.once("error", () => resolve(false));
    req.end();
  });
}

async function stop(child: ChildProcess): Promise<void> {
  const pid = child.pid;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  process.kill(pid, "SIGTERM");
  const timer = setTimeout(() => process.kill(pid, "SIGKILL"), GRACE_MS);
  await gone;
  clearTimeout(timer);
}

/** Adds up what `of` says of a process and of all its descendants. */
async function sum(pid: number | undefined, of: (pid: number) => Promise<number>): Promise<number> {
  if (pid === undefined) return 0;
  let total = await of(pid);
  for (const child of await children(pid)) total += await sum(child, of);
  return total;
}

async function children(pid: number): Promise<number[]> {
  const found: number[] = [];
  for (const tid of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const text = await readFile(`/proc/${pid}/task/${tid}/children`, "utf8").catch(() => "");
    for (const word of text.split(" ")) if (word.trim() !== "") found.push(Number(word));
  }
  return found;
}

/** The first number of schedstat is the time on a core, in nanoseconds. */
async function cpuOf(pid: number): Promise<number> {
  let ns = 0;
  for (const tid of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const text = await readFile(`/proc/${pid}/task/${tid}/schedstat`, "utf8").catch(() => "0");
    ns += Number(text.split(" ")[0]);
  }
  return ns;
}

async function rssOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024;
}
