// What a command is: a value with a name, its flags and a function. `main.ts` has the list.

import type { Flags, FlagSpec } from "./flags.ts";

/** Where a command reads and writes; handed in, so that a test can look. */
export interface Terminal {
  /** One line on stdout. */
  out(line: string): void;
  /** One line on stderr. */
  err(line: string): void;
  /** Raw text on stdout, for redrawing in place. */
  write(text: string): void;
  /** Stdout is a terminal that can be redrawn. */
  readonly interactive: boolean;
  readonly color: boolean;
  /** Now; a terminal can be resized. */
  size(): { readonly columns: number; readonly rows: number };
  readonly verbose: boolean;
}

/** A command of `tulle`. */
export interface Command {
  readonly name: string;
  /** One line, for the list. */
  readonly summary: string;
  /** The line after «Usage: tulle», without the name. */
  readonly usage: string;
  readonly flags: readonly FlagSpec[];
  /** Words besides the flags that it takes; absent: none. */
  readonly operands?: { readonly min: number; readonly max: number };
  /** Paragraphs below the flags; examples, what is not possible. */
  readonly notes: readonly string[];
  /** Resolves with the exit status; throws `CliError` for what the user can mend. */
  run(flags: Flags, terminal: Terminal): Promise<number>;
}

/** Commands under one name, such as `tulle filter build`. */
export interface CommandGroup {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly Command[];
  /** Paragraphs below the list. */
  readonly notes: readonly string[];
}

/** What may stand after `tulle`. */
export type Entry = Command | CommandGroup;
