// Runs `tulle filter …` in this process and keeps what it said.

import { filterCommands } from "../../../src/cli/filter.ts";
import { runTulle } from "../../../src/cli/main.ts";
import { fakeTerminal } from "../fake-terminal.ts";

/** The exit status, and both streams as text. */
export async function tulleFilter(...argv: string[]) {
  const terminal = fakeTerminal();
  const status = await runTulle(["filter", ...argv], [filterCommands], terminal);
  return { status, out: terminal.stdout.join("\n"), err: terminal.stderr.join("\n") };
}
