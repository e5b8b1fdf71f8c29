// The process's own terminal: what it can do, read once.

import process from "node:process";
import type { Terminal } from "./command.ts";

/** Standard output and error. Color by the rules of NO_COLOR (no-color.org) and TERM. */
export function processTerminal(verbose: boolean): Terminal {
  const interactive = process.stdout.isTTY === true && process.env.TERM !== "dumb";
  const noColor = process.env.NO_COLOR;
  let gone = false;
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => {
      // nobody reads any more (`tulle demo | head`): end as if asked to, and clean up
      if (gone) return;
      gone = true;
      if (!process.emit("SIGTERM", "SIGTERM")) process.exit(0);
    });
  }
  return {
    out: (line) => void process.stdout.write(line + "\n"),
    err: (line) => void process.stderr.write(line + "\n"),
    write: (text) => void process.stdout.write(text),
    interactive,
    color: interactive && (noColor === undefined || noColor === ""),
    size: () => ({ columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 }),
    verbose,
  };
}
