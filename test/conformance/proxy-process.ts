// `tulle proxy` as a process of this runtime, in front of a port, while a test uses it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { COMPILE_CACHE } from "../../src/cli/entries.ts";
import { eventually } from "../mesh/support/waiting.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PROBE = fileURLToPath(new URL("memory-probe.ts", import.meta.url));
const RUNTIME = process.versions.deno === undefined
  ? ["--disable-sigusr1", "--expose-gc", "--import", PROBE]
  : ["run", "-A", "--v8-flags=--expose-gc", "--preload", PROBE];

export interface ProxyProcess {
  readonly port: number;
  /** Of its admin server. */
  readonly admin: number;
  readonly pid: number;
  /** Its exit status. */
  readonly ended: Promise<number | null>;
  /** What it logged. */
  log(): string;
  /** What it holds, in MiB: garbage is collected first. */
  heldMiB(): Promise<number>;
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
      async heldMiB() {
        const before = err.length;
        process.kill(pid, "SIGUSR2");
        const [, bytes] = await eventually("the proxy says what it holds", () => {
          const found = /held=(\d+) collected=true/.exec(err.slice(before));
          if (found === null) throw new Error(err.slice(before));
          return found;
        });
        return Number(bytes) / 2 ** 20;
      },
    });
    if (err.includes("defect")) throw new Error(err);
  } finally {
    if (!over) process.kill(pid, "SIGKILL");
    await ended;
  }
}
