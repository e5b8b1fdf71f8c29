// The texts of `tulle --help` and `tulle COMMAND --help`, made from the commands themselves.

import type { Command, CommandGroup, Entry } from "./command.ts";
import { COMMON_FLAGS, type FlagSpec } from "./flags.ts";

/** What `tulle --help` prints. */
export function overview(commands: readonly Entry[]): string {
  return [
    "Tulle: a service mesh that is programmed by WebAssembly filters.",
    "",
    "Usage: tulle COMMAND [flags]",
    "",
    "Commands:",
    ...table(commands.map((c) => [c.name, c.summary])),
    "",
    "Flags:",
    ...table([
      ["--help", "Print this help; after a command, the command's help"],
      ["--version", "Print the version"],
    ]),
    "",
    "Exit status: 0 done, 1 failed, 2 wrong command line, 64 wrong configuration or input.",
  ].join("\n");
}

/** What `tulle COMMAND --help` prints. */
export function commandHelp(command: Command, path = command.name): string {
  const flags = [...command.flags, ...COMMON_FLAGS];
  return [
    `${command.summary}.`,
    "",
    `Usage: tulle ${path}${command.usage === "" ? "" : " " + command.usage}`,
    "",
    "Flags:",
    ...table(flags.map((f) => [label(f), f.summary])),
    ...command.notes.flatMap((note) => ["", note]),
  ].join("\n");
}

/** What `tulle GROUP --help` prints. */
export function groupHelp({ name, summary, commands, notes }: CommandGroup): string {
  return [
    `${summary}.`,
    "",
    `Usage: tulle ${name} COMMAND [flags]`,
    "",
    "Commands:",
    ...table(commands.map((c) => [`${c.name} ${c.usage}`.trim(), c.summary])),
    ...notes.flatMap((note) => ["", note]),
  ].join("\n");
}

function label({ name, short, value, bare }: FlagSpec): string {
  const names = short === undefined ? name : `${short}, ${name}`;
  if (value === undefined) return names;
  return bare === undefined ? `${names} ${value}` : `${names}[=${value}]`;
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}   ${right}`);
}
