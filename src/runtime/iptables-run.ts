// Runs the programs that write iptables rules: no shell, bounded output and time. For `tulle init` and
// the CNI plugin; knows nothing of rules.

import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import process from "node:process";

/** What a command left; the same shape as `src/init/failure.ts` wants. */
export interface Ran {
  /** Null: ended by a signal, or never started. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** There is no such program. */
  readonly missing: boolean;
}

/** Programs in a container without a shell may be here, whatever PATH says. */
const MORE_PATH = "/usr/sbin:/sbin";
const MAX_OUTPUT = 4 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

/** Runs `command` and gives it `stdin`. Never rejects: a program that cannot start is `missing`. */
export function runCommand(command: readonly string[], stdin: string): Promise<Ran> {
  const [file = "", ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, PATH: `${process.env.PATH ?? ""}:${MORE_PATH}`, LC_ALL: "C" },
    });
    const out = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        if (out[name].length < MAX_OUTPUT) out[name] += text;
      });
    }
    let over = false;
    const end = (code: number | null, missing: boolean, why = "") => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      resolve({ code, missing, stdout: out.stdout, stderr: out.stderr || why });
    };
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
      end(null, false, `no end within ${TIMEOUT_MS / 1000} s`);
    }, TIMEOUT_MS);
    child.once(
      "error",
      (e: Error & { code?: string }) => end(null, e.code === "ENOENT", e.message),
    );
    child.once("close", (code) => end(code, false));
    child.stdin.on("error", () => {}); // it ended before it read all
    child.stdin.end(stdin);
  });
}

/** How long a connection whose peer has closed is remembered (`nf_conntrack_tcp_timeout_close_wait`). */
const CLOSE_WAIT = "net.netfilter.nf_conntrack_tcp_timeout_close_wait";

/**
 * Sets that time in this network namespace, or with `enter` (`nsenter …`) in another one. Rejects with
 * one line that says what it needs.
 */
export async function setCloseWait(seconds: number, enter: readonly string[]): Promise<void> {
  if (enter.length > 0) {
    const { code, stderr } = await runCommand([
      ...enter,
      "sysctl",
      "-w",
      `${CLOSE_WAIT}=${seconds}`,
    ], "");
    if (code !== 0) throw new Error(`sysctl ${CLOSE_WAIT}: ${stderr.trim() || "failed"}`);
    return;
  }
  try {
    await writeFile(`/proc/sys/${CLOSE_WAIT.replaceAll(".", "/")}`, `${seconds}\n`);
  } catch (e) {
    const code = (e as { code?: string }).code ?? String(e);
    throw new Error(
      `${CLOSE_WAIT} cannot be set (${code}): it needs a privileged container that runs as root`,
      { cause: e },
    );
  }
}
