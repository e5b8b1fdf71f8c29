// Debian's servers and clients for the peer suites: found by absolute path, run as a user without
// rights, each in a folder of its own, and ended by their process ids.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { chmod, chown, mkdtemp, rm } from "node:fs/promises";
import process from "node:process";
import { eventually } from "../../mesh/support/waiting.ts";

/** `nobody`: servers refuse to run as root, and need a user that has a name. */
const UID = 65534;
const IS_ROOT = process.getuid?.() === 0;
/** A server on a busy machine; its first start makes its files. */
const READY_WITHIN_MS = 90_000;
const RUN_WITHIN_MS = 60_000;

const POSTGRESQL = "/usr/lib/postgresql";

/** Where Debian has a program; null: it is not installed. */
export function program(name: string): string | null {
  const versions = existsSync(POSTGRESQL) ? readdirSync(POSTGRESQL).sort() : [];
  const folders = [
    ...versions.reverse().map((version) => `${POSTGRESQL}/${version}/bin`),
    "/usr/bin",
    "/usr/sbin",
  ];
  return folders.map((folder) => `${folder}/${name}`).find((path) => existsSync(path)) ?? null;
}

/** Why a suite that needs these programs cannot run here, or null. */
export function programsMissing(...names: readonly string[]): string | null {
  const missing = names.filter((name) => program(name) === null);
  if (IS_ROOT && program("setpriv") === null) missing.push("setpriv");
  if (missing.length === 0) return null;
  return `${missing.join(", ")} not found: run tools/setup-debian`;
}

function command(name: string, args: readonly string[]): [string, string[]] {
  const path = program(name);
  if (path === null) throw new Error(`${name} is not installed`);
  if (!IS_ROOT) return [path, [...args]];
  return ["setpriv", [`--reuid=${UID}`, `--regid=${UID}`, "--clear-groups", path, ...args]];
}

/** What a finished program left. */
export interface Ran {
  readonly status: number | null;
  readonly out: Buffer;
  readonly errors: string;
}

/** Runs a program to its end. Its locale and time zone are fixed, and nothing of ours is inherited. */
export async function run(
  name: string,
  args: readonly string[],
  o: { readonly cwd?: string; readonly input?: Uint8Array | string } = {},
): Promise<Ran> {
  const child = spawn(...command(name, args), { cwd: o.cwd ?? "/", env: ENV });
  const out: Uint8Array[] = [];
  let errors = "";
  child.stdout.on("data", (bytes: Uint8Array) => out.push(bytes));
  child.stderr.on("data", (bytes: Uint8Array) => errors += new TextDecoder().decode(bytes));
  child.stdin.on("error", () => {});
  child.stdin.end(o.input ?? "");
  const timer = setTimeout(() => child.kill("SIGKILL"), RUN_WITHIN_MS);
  const [status] = await once(child, "close");
  clearTimeout(timer);
  return { status: status as number | null, out: Buffer.concat(out), errors };
}

const ENV = { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", LC_ALL: "C", TZ: "UTC", HOME: "/nonexistent" };

/** Servers that run: none outlives this process, whatever ends it in its own time. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A running server. */
export interface Server {
  /** A folder that is the server's. */
  readonly dir: string;
  end(): Promise<void>;
}

/** A new folder that the servers' user may write. Not below TMPDIR, which may be closed to it. */
export async function ownFolder(): Promise<string> {
  const dir = await mkdtemp("/tmp/tulle-peers-");
  await chmod(dir, 0o700);
  if (IS_ROOT) await chown(dir, UID, UID);
  return dir;
}

/** Gives a file to the servers' user alone. */
export async function own(file: string): Promise<void> {
  await chmod(file, 0o600);
  if (IS_ROOT) await chown(file, UID, UID);
}

/** Starts a server in `dir` and waits until `ready` does not throw. The folder goes with the server. */
export async function startServer(
  dir: string,
  name: string,
  args: readonly string[],
  ready: () => Promise<void>,
): Promise<Server> {
  const child = spawn(...command(name, args), {
    cwd: dir,
    env: ENV,
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let said = "";
  const say = (bytes: Uint8Array) => said = (said + new TextDecoder().decode(bytes)).slice(-4000);
  child.stdout.on("data", say);
  child.stderr.on("data", say);
  const end = async () => {
    await kill(child);
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    await eventually(`${name} is ready`, async () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
      await ready();
    }, READY_WITHIN_MS);
  } catch (e) {
    await end();
    throw new Error(`${(e as Error).message}\n${said}`, { cause: e });
  }
  return { dir, end };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, "close");
  // SIGINT: PostgreSQL ends its sessions and its processes; the others simply end.
  process.kill(child.pid, "SIGINT");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(timer);
}
