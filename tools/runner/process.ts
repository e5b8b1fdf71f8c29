// Runs one command in a process group of its own, bounded in time and output, and leaves nothing of
// it behind. Used for test files and for the steps of `npm run check`.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** A command and its bounds. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /**
   * Once this appears in the output, the process has `graceMs` to end; a test file that printed its
   * summary and stays has left a server, socket or timer open.
   */
  readonly doneMark?: RegExp;
  readonly graceMs?: number;
}

/** How a command ended. */
export interface Ended {
  /** Standard output and error as they came, cut in the middle when longer than the bound. */
  readonly output: string;
  readonly code: number | null;
  readonly signal: string | null;
  /** `time`: over `timeoutMs`; `stays`: done but not ending; null: ended by itself. */
  readonly killed: "time" | "stays" | null;
  readonly ms: number;
}

const MAX_OUTPUT_CHARS = 400_000;
const running = new Set<number>();

/** Ends every process group that is still running; for the signal handlers of an entry point. */
export function killAll(): void {
  for (const pid of running) killGroup(pid);
}

/** Runs the command to its end. Never rejects: what cannot start ends with code 127. */
export function run(command: Command): Promise<Ended> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command.command, command.args, {
      cwd: command.cwd,
      env: { ...process.env, ...command.env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true, // A group of its own, so that its children can be ended with it.
    });
    const pid = child.pid;
    if (pid !== undefined) running.add(pid);
    let output = "";
    let killed: Ended["killed"] = null;
    let stays: NodeJS.Timeout | null = null;
    const end = (why: "time" | "stays") => {
      killed ??= why;
      if (pid !== undefined) killGroup(pid);
    };
    const timeout = setTimeout(() => end("time"), command.timeoutMs);
    const take = (chunk: string) => {
      output += chunk;
      if (output.length > 2 * MAX_OUTPUT_CHARS) output = cut(output);
      if (stays === null && command.doneMark?.test(output)) {
        stays = setTimeout(() => end("stays"), command.graceMs ?? 10_000);
      }
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    const finish = (code: number | null, signal: string | null) => {
      clearTimeout(timeout);
      if (stays !== null) clearTimeout(stays);
      if (pid !== undefined) {
        running.delete(pid);
        killGroup(pid); // Children that outlived it.
      }
      resolve({ output: cut(output), code, signal, killed, ms: performance.now() - startedMs });
    };
    child.on("error", (e) => {
      output += `${command.command}: ${e.message}\n`;
      finish(127, null);
    });
    // «exit» and not «close»: a grandchild may hold the pipe open for ever.
    child.on(
      "exit",
      (code, signal) => setImmediate(() => drain(child, () => finish(code, signal))),
    );
  });
}

/** Gives what is still in the pipes a moment to arrive, whoever holds their other end. */
function drain(
  child: { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream },
  then: () => void,
): void {
  let open = 2;
  let done = false;
  const once = () => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    then();
  };
  const timer = setTimeout(once, 500);
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream.readable) open--;
    else stream.once("end", () => --open === 0 && once());
  }
  if (open === 0) once();
}

/** Ends the group, and descendants that made groups of their own. */
function killGroup(leader: number): void {
  const all = descendants(leader);
  for (const pid of [-leader, ...all]) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It is gone.
    }
  }
}

/** Where the system tells (Linux); elsewhere the group must do. */
function descendants(pid: number): number[] {
  const found: number[] = [];
  try {
    for (const tid of readdirSync(`/proc/${pid}/task`)) {
      for (const word of readFileSync(`/proc/${pid}/task/${tid}/children`, "utf8").split(" ")) {
        const child = Number(word);
        if (child > 0) found.push(child, ...descendants(child));
      }
    }
  } catch {
    // It is gone, or there is no /proc.
  }
  return found;
}

function cut(text: string): string {
  if (text.length <= MAX_OUTPUT_CHARS) return text;
  const half = MAX_OUTPUT_CHARS / 2;
  return `${text.slice(0, half)}\n… ${text.length - 2 * half} characters left out …\n${
    text.slice(-half)
  }`;
}
