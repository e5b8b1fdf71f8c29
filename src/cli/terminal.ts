// The process's own terminal: what it can do, read once.

import process from "node:process";
import type { Terminal } from "./command.ts";
import { EXIT_FAILURE, writeTrouble } from "./failure.ts";

/** Standard output and error. Color by the rules of NO_COLOR (no-color.org) and TERM. */
export function processTerminal(verbose: boolean): Terminal {
  const interactive = process.stdout.isTTY === true && process.env.TERM !== "dumb";
  const noColor = process.env.NO_COLOR;
  let gone = false;
  const lost = (stream: NodeJS.WriteStream) => (e: NodeJS.ErrnoException) => {
    if (gone) return;
    gone = true;
    // nobody reads any more (`tulle demo | head`): end as if asked to, and clean up
    const isRead = e.code === "EPIPE" || stream === process.stderr;
    // what was asked for is not whole where it should be
    if (!isRead) process.stderr.write(`tulle: Standard output ${writeTrouble(e)}\n`);
    const status = isRead ? 0 : EXIT_FAILURE;
    if (status !== 0) process.once("exit", () => (process.exitCode = status));
    if (!process.emit("SIGTERM", "SIGTERM")) process.exit(status);
  };
  for (const stream of [process.stdout, process.stderr]) stream.on("error", lost(stream));
  const put = (stream: NodeJS.WriteStream, text: string) => {
    try {
      stream.write(text);
    } catch (e) {
      lost(stream)(e as NodeJS.ErrnoException); // as Deno says it
    }
  };
  return {
    out: (line) => put(process.stdout, line + "\n"),
    err: (line) => put(process.stderr, line + "\n"),
    write: (text) => put(process.stdout, text),
    interactive,
    color: interactive && (noColor === undefined || noColor === ""),
    size: () => ({ columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 }),
    verbose,
  };
}
