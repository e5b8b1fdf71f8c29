// Installs and removes the rules with the programs of a mode: reads what is there, writes one
// transaction a family, puts the first family back when the second fails, and says in the log which
// mode it was. Runs nothing itself: commands are handed in.

import type { Logger } from "../core/log.ts";
import { type CommandResult, explain, InitFailure } from "./failure.ts";
import { candidates, kindOfPlain, type Mode, type ModeName, programsOf, rivals } from "./modes.ts";
import {
  installDocument,
  isClean,
  type NatState,
  putBackDocument,
  readState,
  removeAllDocument,
  removeDocument,
} from "./restore.ts";
import { type InterceptOptions, interceptRules } from "./rules.ts";
import type { Family } from "./subnets.ts";

/** Runs `command` with `stdin`; never rejects for what the command did. */
export type RunCommand = (command: readonly string[], stdin: string) => Promise<CommandResult>;

/** Where and how rules are written. */
export interface InitPlace {
  readonly mode: ModeName;
  readonly ipv6: boolean;
  /** Path of a network namespace; null: this process's. */
  readonly netns: string | null;
  /** Wait for the lock of other programs. */
  readonly wait: boolean;
}

/** The modes that rules are in, whatever name they were written by. */
const WRITTEN: readonly Mode[] = ["nft", "legacy"];
/** Seconds for which `--wait` waits. */
const WAIT_SECONDS = "5";

/**
 * Installs the rules, again when they are there already. Resolves with the mode that was used; throws
 * an `InitFailure`, and then nothing is changed.
 */
export async function install(
  o: InterceptOptions,
  place: InitPlace,
  run: RunCommand,
  log: Logger,
): Promise<Mode> {
  const order = await withOurs(candidates(place.mode), place, run);
  const tried: string[] = [];
  for (const [i, mode] of order.entries()) {
    try {
      await installIn(mode, o, place, run, log);
    } catch (e) {
      const next = order[i + 1];
      if (!(e instanceof InitFailure) || !e.modeCannotWork) throw e;
      tried.push(`${mode}: ${e.message}`);
      if (next === undefined) {
        throw new InitFailure(e.kind, `No iptables mode works here: ${tried.join("; ")}`);
      }
      log.warn(`iptables mode ${mode} cannot work here: trying ${next} instead`, {
        why: e.message,
      });
      continue;
    }
    const asked = place.mode;
    if (asked === mode || asked === "auto") log.info("Rules are installed", { mode });
    else log.warn(`Rules are installed in mode ${mode}, since ${asked} cannot work here`, { mode });
    return mode;
  }
  throw new Error("no mode to try");
}

/** Removes what any mode (or the one asked for) has of ours. Resolves with the modes that had some. */
export async function remove(place: InitPlace, run: RunCommand, log: Logger): Promise<Mode[]> {
  const modes: readonly Mode[] = place.mode === "auto" ? ["nft", "legacy", "plain"] : [place.mode];
  const had: Mode[] = [];
  let installed = 0;
  for (const mode of modes) {
    for (const family of families(place)) {
      const found = await look(mode, family, place, run, true);
      if (found === null) continue;
      installed++;
      if (isClean(found)) continue;
      await restore(mode, family, place, run, removeDocument(found));
      if (!had.includes(mode)) had.push(mode);
    }
  }
  if (installed === 0) {
    throw new InitFailure("no-program", "No iptables program works here, in any mode");
  }
  log.info(had.length === 0 ? "There were no rules to remove" : "Rules are removed", {
    modes: had.join(","),
  });
  return had;
}

/**
 * The shell script that does what `install` or `remove` would do in a namespace without our rules,
 * or with all of them. What may have been written in any mode is removed where it is.
 */
export function script(
  o: InterceptOptions,
  place: InitPlace,
  what: "install" | "remove",
): readonly string[] {
  const any = what === "remove" && place.mode === "auto";
  const modes = any ? WRITTEN : [candidates(place.mode)[0] as Mode];
  return modes.flatMap((mode) =>
    families(place).flatMap((family) => {
      const chains = interceptRules(o, family);
      const text = what === "install"
        ? installDocument(chains, { chains: [], rules: [], jumps: [] })
        : removeAllDocument(chains);
      const block = [
        `${restoreCommand(mode, family, place).join(" ")} <<'END'`,
        ...text.trimEnd().split("\n"),
        "END",
      ];
      if (!any) return block;
      const saved = [...enter(place), programsOf(mode, family).save].join(" ");
      return [`if ${saved} 2>/dev/null | grep -q '^:PROXY_INIT_'; then`, ...block, "fi"];
    })
  );
}

async function installIn(
  mode: Mode,
  o: InterceptOptions,
  place: InitPlace,
  run: RunCommand,
  log: Logger,
): Promise<void> {
  const done: { family: Family; before: NatState }[] = [];
  for (const family of families(place)) {
    try {
      const before = await save(mode, family, place, run);
      await refuseRivals(mode, family, place, run);
      const text = installDocument(interceptRules(o, family), before);
      log.debug("Writes rules", { mode, family, document: text });
      await restore(mode, family, place, run, text);
      done.push({ family, before });
    } catch (e) {
      for (const { family: earlier, before } of done) {
        const now = await save(mode, earlier, place, run);
        await restore(mode, earlier, place, run, putBackDocument(before, now));
        log.warn("The rules of the other family were put back", { mode, family: earlier });
      }
      throw e;
    }
  }
}

/** Rules of ours in both kinds at once: which of them counts, depends on who came first. */
async function refuseRivals(
  mode: Mode,
  family: Family,
  place: InitPlace,
  run: RunCommand,
): Promise<void> {
  const kind = mode === "plain" ? await plainKind(family, place, run) : mode;
  for (const rival of kind === null ? [] : rivals(kind)) {
    const found = await look(rival, family, place, run, false);
    if (found === null || isClean(found)) continue;
    throw new InitFailure(
      "mixed",
      `Rules of an earlier run are there in mode ${rival}: legacy and nft must not be mixed; ` +
        `run tulle init --undo first, or give --iptables-mode ${rival}`,
    );
  }
}

/** Which kind the programs without a suffix are; null when they do not say. */
async function plainKind(family: Family, place: InitPlace, run: RunCommand) {
  const { save } = programsOf("plain", family);
  const { code, stdout } = await run([...enter(place), save, "--version"], "");
  return code === 0 ? kindOfPlain(stdout) : null;
}

/** For `auto`: the mode that has rules of ours comes first. */
async function withOurs(
  order: readonly Mode[],
  place: InitPlace,
  run: RunCommand,
): Promise<readonly Mode[]> {
  if (place.mode !== "auto") return order;
  for (const mode of order) {
    const found = await look(mode, "ipv4", place, run, false);
    if (found !== null && !isClean(found)) return [mode, ...order.filter((m) => m !== mode)];
  }
  return order;
}

/** The nat table of a mode that is to be used; makes the kernel load it. */
async function save(
  mode: Mode,
  family: Family,
  place: InitPlace,
  run: RunCommand,
): Promise<NatState> {
  const { save } = programsOf(mode, family);
  const result = await run([...enter(place), save, "-t", "nat"], "");
  if (result.code !== 0) throw explain(save, result, family === "ipv6", place.netns);
  return readState(result.stdout);
}

/**
 * What is there, without making the kernel load a table. Null: this mode does not work here; with
 * `strictly`, a missing right is an error.
 */
async function look(
  mode: Mode,
  family: Family,
  place: InitPlace,
  run: RunCommand,
  strictly: boolean,
): Promise<NatState | null> {
  const { save } = programsOf(mode, family);
  const result = await run([...enter(place), save], "");
  if (result.code === 0) return readState(result.stdout);
  const failure = explain(save, result, family === "ipv6", place.netns);
  if (strictly && !failure.modeCannotWork) throw failure;
  return null;
}

async function restore(
  mode: Mode,
  family: Family,
  place: InitPlace,
  run: RunCommand,
  text: string,
): Promise<void> {
  const command = restoreCommand(mode, family, place);
  const result = await run(command, text);
  if (result.code !== 0) {
    throw explain(programsOf(mode, family).restore, result, family === "ipv6", place.netns);
  }
}

function restoreCommand(mode: Mode, family: Family, place: InitPlace): string[] {
  const wait = place.wait ? ["--wait", WAIT_SECONDS] : [];
  return [...enter(place), programsOf(mode, family).restore, "--noflush", ...wait];
}

function enter({ netns }: InitPlace): readonly string[] {
  return netns === null ? [] : ["nsenter", `--net=${netns}`, "--"];
}

function families({ ipv6 }: InitPlace): readonly Family[] {
  return ipv6 ? ["ipv4", "ipv6"] : ["ipv4"];
}
