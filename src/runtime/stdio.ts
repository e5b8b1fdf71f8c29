// The command line and the standard output, for a `main.ts` that is not the CLI's.

import process from "node:process";

/** What was given after the program's name. */
export function commandLine(): readonly string[] {
  return process.argv.slice(2);
}

/** Writes a line for programs: results go to standard output. */
export function writeLine(line: string): void {
  process.stdout.write(line + "\n");
}
