// How a command says that it cannot go on, and which exit status that is. Printed in one place:
// `main.ts`.

import { errorText } from "../core/errors.ts";

/** It was tried and did not work. */
export const EXIT_FAILURE = 1;
/** The command line is wrong. */
export const EXIT_USAGE = 2;
/** The configuration is wrong; the status that Linkerd's proxy uses for it. */
export const EXIT_CONFIG = 64;

/** Ends a command with one line on stderr, a hint below it when there is one, and a status. */
export class CliError extends Error {
  readonly exit: number;
  readonly hint: string;

  constructor(
    message: string,
    options: { exit?: number; hint?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "CliError";
    this.exit = options.exit ?? EXIT_FAILURE;
    this.hint = options.hint ?? "";
  }
}

/** The command line cannot be understood. */
export function usageError(message: string, hint = ""): CliError {
  return new CliError(message, { exit: EXIT_USAGE, hint });
}

/** Why a file cannot be read, in words that follow its path: "does not exist". */
export function fileTrouble(e: unknown): string {
  const code = (e as { code?: unknown } | null)?.code;
  if (code === "ENOENT") return "does not exist";
  if (code === "EACCES" || code === "EPERM") return "may not be read";
  if (code === "EISDIR") return "is a folder";
  return `cannot be read: ${errorText(e)}`;
}
