// `tulle proxy` as a process of this runtime, in front of a port, while a test uses it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { COMPILE_CACHE } from "../../src/cli/entries.ts";
import { eventually } from "../mesh/support/waiting.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const RUNTIME = process.versions.deno === undefined ? ["--disable-sigusr1"] : ["run", "-A"];

export interface ProxyProcess {
  readonly port: number;
  /** Of its admin server. */
  readonly admin: number;
  readonly pid: number;
  /** Its exit status. */
  readonly ended: Promise<number | null>;
  /** What it logged. */
  log(): string;
  /** Resident memory in MiB; NaN where the system does not say. */
  rssMiB(): Promise<number>;
}

/** Runs it while `use` runs. */
export async function withProxy(
  to: number,
  protocol: "http1" | "http2" | "same",
  use: (proxy: ProxyProcess) => Promise<void>,
): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      ...RUNTIME,
      ...["src/cli/main.ts", "proxy", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
      ...["--to", `127.0.0.1:${to}`, "--upstream-protocol", protocol],
    ],
    {
      cwd: ROOT,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, NO_COLOR: "1", NODE_COMPILE_CACHE: COMPILE_CACHE ?? "" },
    },
  );
  let err = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = once(child, "close").then(([code]) => code as number | null);
  const pid = child.pid as number;
  let over = false;
  void ended.then(() => (over = true));
  try {
    const [, port, admin] = await eventually("the proxy serves", () => {
      const found = /ready listen=127\.0\.0\.1:(\d+) to=\S+ admin=127\.0\.0\.1:(\d+)/.exec(err);
      if (found === null) throw new Error(err);
      return found;
    });
    await use({
      port: Number(port),
      admin: Number(admin),
      pid,
      ended,
      log: () => err,
      async rssMiB() {
        const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
        return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? NaN) / 1024;
      },
    });
    if (err.includes("defect")) throw new Error(err);
  } finally {
    if (!over) process.kill(pid, "SIGKILL");
    await ended;
  }
}
