// Child processes: started with a list of rights, watched, and ended together. The same on Node and
// Deno. Knows nothing of what the children do.

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";

/** What a child may do under Deno. Node has no such list that is not experimental; there it is not used. */
export interface ChildRights {
  /** Hosts, `host:port` or networks in CIDR form. */
  readonly net: readonly string[];
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Names of environment variables, `PREFIX_*` allowed. */
  readonly env: readonly string[];
  /** Names of `Deno` system information interfaces. */
  readonly sys: readonly string[];
}

/** A process to start. */
export interface ChildPlan {
  /** For people: what messages call it. */
  readonly name: string;
  /** Path of its main module. */
  readonly entry: string;
  readonly args: readonly string[];
  /** Its whole environment, but for what the runtime itself needs. */
  readonly env: Readonly<Record<string, string>>;
  readonly rights: ChildRights;
}

/** How a child ended. */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A started process. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly running: boolean;
  /** The newest line on stderr that tells something, or on stdout when there was none; for messages. */
  readonly lastLine: string;
  /** Writes a line to its stdin; does nothing when it has ended. */
  send(line: string): void;
  readonly exited: Promise<ChildExit>;
}

/** What a group tells its owner. */
export interface ChildEvents {
  /** A whole line, at most `MAX_LINE` characters. */
  line(child: Child, stream: "stdout" | "stderr", line: string): void;
  /** A child ended although nobody asked it to. */
  died(child: Child, exit: ChildExit): void;
}

/** Files that every child uses. */
export interface ChildFiles {
  /** Path of `tether.ts`, which is loaded first. */
  readonly tether: string;
  /** Folder of Node's compile cache, unless the environment names one; null: none. */
  readonly compileCache: string | null;
}

const MAX_LINE = 64 * 1024;
/** From the request to end until the kill. */
const GRACE_MS = 1_200;

/** Children that are ended together. */
export class ChildGroup {
  readonly #files: ChildFiles;
  readonly #events: ChildEvents;
  readonly #children = new Map<Child, ChildProcess>();
  #ending: Promise<void> | null = null;

  constructor(files: ChildFiles, events: ChildEvents) {
    this.#files = files;
    this.#events = events;
  }

  /** Starts a process in a process group of its own, so that Ctrl-C reaches only the parent. */
  start(plan: ChildPlan): Child {
    if (this.#ending !== null) throw new Error(`${plan.name} is not started: the group is ending`);
    const spawned = spawn(process.execPath, runtimeArgs(this.#files.tether, plan), {
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
      // messages are passed on, and perhaps to a file
      env: { ...this.#cache(), ...inherited(), NO_COLOR: "1", ...plan.env },
    });
    const child = new Running(plan.name, spawned, this.#events);
    this.#children.set(child, spawned);
    void child.exited.then((exit) => {
      this.#children.delete(child);
      if (this.#ending === null) this.#events.died(child, exit);
    });
    return child;
  }

  #cache(): Record<string, string> {
    const { compileCache } = this.#files;
    return compileCache === null ? {} : { NODE_COMPILE_CACHE: compileCache };
  }

  /** Asks every child to end, kills those that are left after 1.2 s, and waits for all. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /** For the last moment of the parent: kills at once, without waiting. */
  kill(): void {
    for (const spawned of this.#children.values()) spawned.kill("SIGKILL");
  }

  async #end(): Promise<void> {
    const all = [...this.#children];
    for (const [, spawned] of all) spawned.stdin?.end();
    const timer = setTimeout(() => {
      // SIGKILL cannot be handled, so that what Deno records of it is true
      for (const spawned of this.#children.values()) spawned.kill("SIGKILL");
    }, GRACE_MS);
    await Promise.all(all.map(([child]) => child.exited));
    clearTimeout(timer);
  }
}

class Running implements Child {
  readonly name: string;
  readonly exited: Promise<ChildExit>;
  readonly #spawned: ChildProcess;
  #running = true;
  #lastOut = "";
  #lastErr = "";

  constructor(name: string, spawned: ChildProcess, events: ChildEvents) {
    this.name = name;
    this.#spawned = spawned;
    // a child that ended closes its input; writing to it then is no failure of ours
    spawned.stdin?.on("error", () => {});
    eachLine(spawned, "stdout", (line) => {
      this.#lastOut = line;
      events.line(this, "stdout", line);
    });
    eachLine(spawned, "stderr", (line) => {
      // the line after this one is the source that threw
      const source = this.#lastErr.startsWith("error: Uncaught");
      if (isTelling(line) && !source) this.#lastErr = line.trim();
      events.line(this, "stderr", line);
    });
    this.exited = new Promise((resolve) => {
      let settled = false;
      const settle = (exit: ChildExit) => {
        if (settled) return;
        settled = true;
        this.#running = false;
        resolve(exit);
      };
      spawned.once("error", (e) => {
        this.#lastErr = e.message;
        settle({ code: null, signal: null });
      });
      // `close` comes after the last line of output, `exit` may come before it
      spawned.once("close", (code, signal) => settle({ code, signal }));
    });
  }

  get pid(): number {
    return this.#spawned.pid ?? 0;
  }

  get running(): boolean {
    return this.#running;
  }

  get lastLine(): string {
    return this.#lastErr !== "" ? this.#lastErr : this.#lastOut;
  }

  send(line: string): void {
    if (this.#running && this.#spawned.stdin?.writable === true) {
      this.#spawned.stdin.write(line + "\n");
    }
  }
}

/** Not what runtimes print around an error: its place in the source, the stack, the version. */
function isTelling(line: string): boolean {
  return /^\S/.test(line) && !/^(?:Node\.js v|[}^\])]|(?:file|node):\S+:\d+$)/.test(line);
}

/** Splits a stream into lines; a longer one is cut, and what is over is dropped. */
function eachLine(
  spawned: ChildProcess,
  name: "stdout" | "stderr",
  take: (line: string) => void,
): void {
  const stream = spawned[name];
  if (stream === null) return;
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = (lines.pop() ?? "").slice(0, MAX_LINE);
    for (const line of lines) take(line.slice(0, MAX_LINE));
  });
  stream.on("end", () => {
    if (rest !== "") take(rest);
  });
}

/** The arguments that start a main module in this runtime, with the rights of the plan under Deno. */
export function runtimeArgs(tether: string, plan: ChildPlan): readonly string[] {
  if (process.versions.deno === undefined) {
    return ["--disable-sigusr1", "--import", tether, plan.entry, ...plan.args];
  }
  return ["run", ...denoFlags(plan.rights), `--preload=${tether}`, plan.entry, ...plan.args];
}

/**
 * Rights as Deno's flags; what is empty is not granted. Libraries ask for variables of their own:
 * one that is not granted is undefined to them, as it is on Node when it is not set.
 */
export function denoFlags(rights: ChildRights): readonly string[] {
  const flags = ["--no-prompt", "--quiet", "--ignore-env"];
  for (const kind of ["net", "read", "write", "env", "sys"] as const) {
    const values = rights[kind];
    if (values.length > 0) flags.push(`--allow-${kind}=${values.join(",")}`);
  }
  return flags;
}

/** What a runtime needs to find its own caches; no more of the parent's environment than that. */
function inherited(): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of ["HOME", "PATH", "TMPDIR", "DENO_DIR", "NODE_COMPILE_CACHE"]) {
    const value = process.env[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}
