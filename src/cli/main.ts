// The executable: finds the command, reads its flags, runs it, and turns what it throws into one
// line and an exit status. Knows nothing of what the commands do.

import process from "node:process";
import { fileURLToPath } from "node:url";
import manifest from "../../package.json" with { type: "json" };
import { errorText } from "../core/errors.ts";
import { awaitCommand } from "./await.ts";
import { cniCommand } from "./cni.ts";
import { cniInstallCommand } from "./cni-install.ts";
import { cniRepairCommand } from "./cni-repair.ts";
import type { Entry, Terminal } from "./command.ts";
import { demoCommand } from "./demo.ts";
import { CliError, EXIT_FAILURE, usageError } from "./failure.ts";
import { parseFlags, quote } from "./flags.ts";
import { filterCommands } from "./filter.ts";
import { commandHelp, groupHelp, overview } from "./help.ts";
import { initCommand } from "./init.ts";
import { injectCommand, uninjectCommand } from "./inject.ts";
import {
  installCniCommand,
  installCommand,
  pruneCommand,
  uninstallCommand,
  upgradeCommand,
} from "./install.ts";
import { networkValidatorCommand } from "./network-validator.ts";
import { proxyCommand } from "./proxy.ts";
import { nearest } from "./suggest.ts";
import { processTerminal } from "./terminal.ts";

/** What `tulle` can do, in the order of the help. */
export const COMMANDS: readonly Entry[] = [
  demoCommand,
  filterCommands,
  proxyCommand,
  initCommand,
  networkValidatorCommand,
  cniCommand,
  cniInstallCommand,
  cniRepairCommand,
  installCommand,
  upgradeCommand,
  uninstallCommand,
  pruneCommand,
  installCniCommand,
  injectCommand,
  uninjectCommand,
  awaitCommand,
];

/** Runs one command line. Resolves with the exit status; never throws. */
export async function runTulle(
  argv: readonly string[],
  commands: readonly Entry[],
  terminal: Terminal,
): Promise<number> {
  const [name, ...rest] = argv;
  try {
    if (name === undefined || name === "help" || name === "--help" || name === "-h") {
      terminal.out(overview(commands));
      return 0;
    }
    if (name === "--version" || name === "version") {
      terminal.out(`tulle ${manifest.version}`);
      return 0;
    }
    return await dispatch(name, rest, commands, terminal);
  } catch (e) {
    return report(e, terminal);
  }
}

/** Runs `name` of `commands`; `under` are the words before it. */
async function dispatch(
  name: string,
  argv: readonly string[],
  commands: readonly Entry[],
  terminal: Terminal,
  under = "",
): Promise<number> {
  const entry = commands.find((c) => c.name === name);
  if (entry === undefined) throw unknownCommand(under + name, under, name, commands);
  if ("commands" in entry) {
    const [next, ...rest] = argv;
    if (next === undefined || next === "help" || next === "--help" || next === "-h") {
      terminal.out(groupHelp(entry));
      return 0;
    }
    return await dispatch(next, rest, entry.commands, terminal, `${under}${name} `);
  }
  const usage = `${under}${name} ${entry.usage}`;
  const flags = parseFlags(entry.flags, argv, entry.operands, usage);
  if (flags.has("--help")) {
    terminal.out(commandHelp(entry, under + name));
    return 0;
  }
  return await entry.run(flags, terminal);
}

function unknownCommand(
  path: string,
  under: string,
  name: string,
  commands: readonly Entry[],
): CliError {
  if (name.startsWith("-")) {
    return usageError(`Unknown flag ${quote(name)}`, `Run tulle ${under}--help for what exists`);
  }
  const meant = nearest(name, commands.map((c) => c.name));
  return usageError(
    `Unknown command ${quote(path)}`,
    meant === null ? `Run tulle ${under}--help for what exists` : `Did you mean ${under}${meant}?`,
  );
}

function report(e: unknown, terminal: Terminal): number {
  terminal.err(`tulle: ${errorText(e)}`);
  if (e instanceof CliError && e.hint !== "") terminal.err(`  ${e.hint}`);
  if (terminal.verbose && e instanceof Error) terminal.err(e.stack ?? "");
  return e instanceof CliError ? e.exit : EXIT_FAILURE;
}

// `bin/tulle.js` imports this file where it need not start another Node: then it is not the main
// module, but the script that the process was given
if (import.meta.main || process.argv[1] === fileURLToPath(import.meta.url)) {
  const argv = process.argv.slice(2);
  const status = await runTulle(argv, COMMANDS, processTerminal(argv.includes("--verbose")));
  process.exitCode = status;
}
