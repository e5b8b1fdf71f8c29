// Runs a program for its output, without a shell, bounded in time and size: credential plugins of a
// kubeconfig. The output may be a secret: no error repeats it.

import { execFile } from "node:child_process";
import process from "node:process";

export interface ExecRequest {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to this process's environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

/** Standard output of a program that ended with 0. Rejects with one line that names the program. */
export function execute(what: ExecRequest): Promise<string> {
  const { command, args, env, timeoutMs, maxBytes } = what;
  return new Promise((resolve, reject) => {
    const options = {
      env: { ...process.env, ...env },
      timeout: timeoutMs,
      killSignal: "SIGKILL" as const,
      maxBuffer: maxBytes,
      encoding: "utf8" as const,
    };
    const child = execFile(command, [...args], options, (e, stdout) => {
      if (e === null) return resolve(stdout);
      // `e` holds the whole command line, and its cause could hold output.
      reject(new Error(`${command} ${why(e, timeoutMs, maxBytes)}`));
    });
    child.stdin?.end();
  });
}

function why(e: Error, timeoutMs: number, maxBytes: number): string {
  const { code, killed } = e as { code?: unknown; killed?: boolean };
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `wrote over ${maxBytes} bytes`;
  if (killed === true) return `did not end within ${timeoutMs} ms`;
  if (code === "ENOENT") return "is not installed";
  return typeof code === "number" ? `ended with ${code}` : `cannot be started: ${String(code)}`;
}
