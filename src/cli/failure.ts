// How a command says that it cannot go on, and which exit status that is. Printed in one place:
// `main.ts`.

import { errorText } from "../core/errors.ts";

/** It was tried and did not work. */
export const EXIT_FAILURE = 1;
/** The command line is wrong. */
export const EXIT_USAGE = 2;
/**
 * What a command was given to work on is wrong: the environment, or a file that is missing, may not be read
 * or says what cannot be used. The status that Linkerd's proxy uses for its configuration.
 */
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
  if (code === "ENOTDIR") return "is no folder, or lies in none";
  return `cannot be read: ${errorText(e)}`;
}

/** Why a file or folder cannot be written, in words that follow its path. */
export function writeTrouble(e: unknown): string {
  switch ((e as { code?: unknown } | null)?.code) {
    case "EACCES":
    case "EPERM":
      return "may not be written";
    case "EEXIST":
      return "exists already";
    case "ENOENT":
      return "lies in a folder that does not exist";
    case "ENOTDIR":
      return "lies in what is no folder";
    case "EISDIR":
      return "is a folder";
    case "ENOSPC":
      return "cannot be written: the disk is full";
    case "EROFS":
      return "cannot be written: the disk is read only";
    default:
      return `cannot be written: ${errorText(e)}`;
  }
}
