// A terminal that remembers.

import type { Terminal } from "../../src/cli/command.ts";

export interface FakeTerminal extends Terminal {
  readonly stdout: string[];
  readonly stderr: string[];
  /** Everything that was written raw. */
  readonly raw: string[];
}

export function fakeTerminal(
  options: {
    interactive?: boolean;
    color?: boolean;
    columns?: number;
    rows?: number;
    verbose?: boolean;
  } = {},
): FakeTerminal {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const raw: string[] = [];
  return {
    stdout,
    stderr,
    raw,
    out: (line) => void stdout.push(line),
    err: (line) => void stderr.push(line),
    write: (text) => void raw.push(text),
    interactive: options.interactive ?? false,
    color: options.color ?? false,
    size: () => ({ columns: options.columns ?? 80, rows: options.rows ?? 40 }),
    verbose: options.verbose ?? false,
  };
}
