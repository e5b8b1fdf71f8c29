// Whether a pod's network namespace has the rules that it should: what iptables-save says, compared
// with the rules as values. For CHECK; changes nothing.

import { CniError, CODES } from "./errors.ts";
import { explain } from "../init/failure.ts";
import { candidates, programsOf } from "../init/modes.ts";
import { isClean, type NatState, readState } from "../init/restore.ts";
import { type InterceptOptions, interceptRules, type Rule } from "../init/rules.ts";
import type { InitPlace, RunCommand } from "../init/run.ts";
import type { Family } from "../init/subnets.ts";

/** Throws what is missing; resolves where all rules are there, in the mode asked for or one instead. */
export async function checkRules(
  o: InterceptOptions,
  place: InitPlace,
  run: RunCommand,
): Promise<void> {
  const families: readonly Family[] = place.ipv6 ? ["ipv4", "ipv6"] : ["ipv4"];
  for (const family of families) {
    let wrong = `there are no rules for ${family}`;
    let right = false;
    let ran = 0;
    for (const mode of candidates(place.mode)) {
      const { save } = programsOf(mode, family);
      const enter = place.netns === null ? [] : ["nsenter", `--net=${place.netns}`, "--"];
      const result = await run([...enter, save], "");
      if (result.code !== 0) {
        const failure = explain(save, result, family === "ipv6", place.netns);
        if (!failure.modeCannotWork) throw new CniError(CODES.rules, failure.message);
        continue;
      }
      ran++;
      const state = readState(result.stdout);
      if (isClean(state)) continue;
      const why = difference(o, family, state);
      right = why === null;
      if (why !== null) wrong = `${family} in mode ${mode}: ${why}`;
      break;
    }
    if (ran === 0) throw new CniError(CODES.rules, "No iptables program works on this host");
    if (!right) throw new CniError(CODES.changed, `The pod's traffic is not redirected: ${wrong}`);
  }
}

/** In what `state` is not what `o` makes; null: in nothing. */
export function difference(
  o: InterceptOptions,
  family: Family,
  state: NatState,
): string | null {
  const chains = interceptRules(o, family);
  for (const { jump } of chains) {
    if (!state.jumps.some((line) => line.startsWith(`-A ${jump.chain} `))) {
      return `nothing leads from ${jump.chain} into its chain`;
    }
  }
  const wanted = chains.flatMap(({ rules }) => rules);
  for (const { name } of chains) {
    const mine = wanted.filter((rule) => rule.chain === name);
    const there = state.rules.filter((line) => line.startsWith(`-A ${name} `));
    if (mine.length !== there.length) {
      return `the chain ${name} has ${there.length} rules and not ${mine.length}`;
    }
    for (const [i, rule] of mine.entries()) {
      if (!same(rule, there[i] ?? "")) return `rule ${i + 1} of ${name} is not ${rule.comment}`;
    }
  }
  return null;
}

/** The comment says what a rule does, but for the number that it does it with. */
function same({ args, comment }: Rule, line: string): boolean {
  const said = /--comment (?:"([^"]*)"|(\S+))/.exec(line);
  if ((said?.[1] ?? said?.[2]) !== comment) return false;
  return [["--to-port", "--to-ports"], ["--uid-owner", "--uid-owner"], [
    "--gid-owner",
    "--gid-owner",
  ]].every(([flag = "", written = ""]) => {
    const at = args.indexOf(flag);
    return at < 0 || new RegExp(`${written} ${args[at + 1]}(?: |$)`).test(line);
  });
}
