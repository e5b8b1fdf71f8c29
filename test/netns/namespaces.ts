// Two network namespaces with a wire between them, as two pods: made and removed by the test, with the
// processes that it starts in them. Needs root, iproute2 and both kinds of iptables.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** This runtime, as a command. */
export const RUNTIME = process.versions.deno === undefined
  ? [process.execPath, "--disable-warning=ExperimentalWarning"]
  : [process.execPath, "run", "-A", "--no-prompt"];

/** Why these tests cannot run here, or null. */
export function namespacesMissing(): string | null {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  for (const program of ["ip", "iptables-nft", "iptables-legacy", "setpriv"]) {
    const { status } = spawnSync("sh", ["-c", `command -v ${program}`]);
    if (status !== 0) return `${program} is not installed (tools/setup-debian)`;
  }
  const name = `tulle-probe-${process.pid}`;
  const made = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
  if (made.status !== 0) return `no network namespace can be made: ${made.stderr.trim()}`;
  const tried = ["iptables-nft", "iptables-legacy"].map((program) => {
    const rule = ["-w", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "RETURN"];
    const run = ["netns", "exec", name, program, ...rule];
    const { status, stderr } = spawnSync("ip", run, { encoding: "utf8" });
    return status === 0 ? null : `${program} can make no NAT rule here: ${stderr.trim()}`;
  });
  spawnSync("ip", ["netns", "del", name]);
  return tried.find((why) => why !== null) ?? null;
}

/** What a finished command left. */
export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A namespace. */
export class Namespace {
  readonly name: string;
  /** The end of the wire to another one; empty until it is joined. */
  device = "";
  readonly #children: ChildProcess[] = [];

  constructor(name: string) {
    this.name = name;
    must("ip", "netns", "add", name);
    must("ip", "-n", name, "link", "set", "lo", "up");
  }

  /** Runs a command in it, to its end. */
  run(...command: string[]): Finished {
    const done = spawnSync("ip", ["netns", "exec", this.name, ...command], {
      cwd: ROOT,
      encoding: "utf8",
      timeout: 60_000,
    });
    return { status: done.status, stdout: done.stdout, stderr: done.stderr };
  }

  /** `tulle`, in it. */
  tulle(...args: string[]): Finished {
    return this.run(...RUNTIME, "src/cli/main.ts", ...args);
  }

  /** Starts a command that reads its standard input, in it, and runs it to its end. */
  pipe(stdin: string, ...command: string[]): Finished {
    const done = spawnSync("ip", ["netns", "exec", this.name, ...command], {
      cwd: ROOT,
      encoding: "utf8",
      input: stdin,
      timeout: 60_000,
    });
    return { status: done.status, stdout: done.stdout, stderr: done.stderr };
  }

  /** Starts one of the test's processes as `uid`; resolves when it says that it is ready. */
  async start(uid: number, script: string, ...args: string[]): Promise<void> {
    const child = this.#spawn([...asUser(uid), ...RUNTIME, script, ...args]);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      if (text.includes("ready")) resolve();
    });
    child.process.once("exit", () => reject(new Error(`${script} ended: ${child.said()}`)));
    await promise;
  }

  /** Starts a command as `uid` with variables. Returns what it wrote to its standard error so far. */
  launch(
    uid: number,
    env: Readonly<Record<string, string>>,
    ...command: string[]
  ): () => string {
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    return this.#spawn([...asUser(uid), "env", ...variables, ...command]).said;
  }

  #spawn(command: readonly string[]) {
    const child = spawn("ip", ["netns", "exec", this.name, ...command], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.push(child);
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    return { process: child, said: () => errors };
  }

  /** Asks `ip:port` as `uid`, without any configuration. */
  get(ip: string, port: number, uid = 0): string {
    return this.getAll([[ip, port]], uid)[0] ?? "";
  }

  /** Asks each address and port, one after the other. */
  getAll(
    of: readonly (readonly [ip: string, port: number | string])[],
    uid = 0,
    gid = uid,
  ): string[] {
    const { stdout, stderr } = this.run(
      ...asUser(uid, gid),
      ...[...RUNTIME, "test/netns/app-process.ts", "get", ...of.flat().map(String)],
    );
    return stdout.trim() === "" ? [stderr.trim()] : stdout.trim().split("\n");
  }

  /** The whole answer of an HTTP server, all lines. */
  getText(ip: string, at: string): string {
    return this.run(...RUNTIME, "test/netns/app-process.ts", "get", ip, at).stdout;
  }

  /** Runs a command that cannot fail. */
  must(...command: string[]): void {
    must("ip", "netns", "exec", this.name, ...command);
  }

  /** Both families' nat tables in a mode, without counters and dates. */
  saved(mode: "legacy" | "nft" | "plain"): string {
    return ["iptables", "ip6tables"].map((program) => {
      const name = mode === "plain" ? program : `${program}-${mode}`;
      const { stdout } = this.run(`${name}-save`, "-t", "nat");
      return stdout.replace(/^#.*\n/gm, "").replace(/ \[\d+:\d+\]/g, "");
    }).join("");
  }

  async remove(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue;
      const gone = once(child, "exit");
      process.kill(child.pid, "SIGKILL");
      await gone;
    }
    must("ip", "netns", "del", this.name);
  }
}

/** Joins two namespaces; each has the addresses `10.77.0.N` and `fd77::N`. */
export function join(a: Namespace, b: Namespace): void {
  const names = [`tu${process.pid}a`, `tu${process.pid}b`] as const;
  must(
    "ip",
    "link",
    "add",
    names[0],
    "netns",
    a.name,
    "type",
    "veth",
    "peer",
    "name",
    names[1],
    "netns",
    b.name,
  );
  for (const [i, { name }] of [a, b].entries()) {
    const device = names[i as 0 | 1];
    (i === 0 ? a : b).device = device;
    must("ip", "-n", name, "addr", "add", `10.77.0.${i + 1}/24`, "dev", device);
    must("ip", "-n", name, "addr", "add", `fd77::${i + 1}/64`, "dev", device, "nodad");
    must("ip", "-n", name, "link", "set", device, "up");
  }
}

function asUser(uid: number, gid = uid): string[] {
  return uid === 0 ? [] : [
    "setpriv",
    `--reuid=${uid}`,
    `--regid=${gid}`,
    "--clear-groups",
    "env",
    "DENO_DIR=/tmp/none",
  ];
}

function must(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
}
