// Documents for iptables-restore: installing, removing and putting back our chains, each as one
// transaction that happens whole or not at all. Reads what is there from iptables-save. Pure.

import { type Chain, OUTPUT_CHAIN, REDIRECT_CHAIN, type Rule } from "./rules.ts";

/** What the nat table has of ours. */
export interface NatState {
  /** Names of our chains that exist. */
  readonly chains: readonly string[];
  /** The rules in them, as iptables-save writes them. */
  readonly rules: readonly string[];
  /** The rules that lead into them, as iptables-save writes them. */
  readonly jumps: readonly string[];
}

const OURS = [REDIRECT_CHAIN, OUTPUT_CHAIN];
const JUMPS = [
  /^-A PREROUTING (?:.+ )?-j PROXY_INIT_REDIRECT(?: |$)/,
  /^-A OUTPUT (?:.+ )?-j PROXY_INIT_OUTPUT(?: |$)/,
];

/** Reads the output of iptables-save, of the nat table alone or of all tables. */
export function readState(saved: string): NatState {
  const chains: string[] = [];
  const rules: string[] = [];
  const jumps: string[] = [];
  let table = "nat";
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1).trim();
    if (table !== "nat") continue;
    for (const name of OURS) {
      if (line.startsWith(`:${name} `)) chains.push(name);
      else if (line.startsWith(`-A ${name} `)) rules.push(line);
    }
    if (JUMPS.some((jump) => jump.test(line))) jumps.push(line);
  }
  return { chains, rules, jumps };
}

/** True when nothing of ours is there. */
export function isClean(state: NatState): boolean {
  return state.chains.length === 0 && state.jumps.length === 0;
}

/** Makes or refills the chains, and leads into those that nothing leads into yet. */
export function installDocument(chains: readonly Chain[], state: NatState): string {
  const missing = chains.filter(({ name }) => !leads(state, name));
  return document([
    ...chains.map(({ name }) => `:${name} - [0:0]`),
    ...chains.flatMap(({ rules }) => rules.map(ruleLine)),
    ...missing.map(({ jump }) => ruleLine(jump)),
  ]);
}

/** Removes everything of ours that `state` names. */
export function removeDocument(state: NatState): string {
  return document([
    ...state.jumps.map((line) => line.replace(/^-A /, "-D ")),
    ...state.chains.map((name) => `-F ${name}`),
    ...state.chains.map((name) => `-X ${name}`),
  ]);
}

/** Removes all that a first installation makes. */
export function removeAllDocument(chains: readonly Chain[]): string {
  return removeDocument({
    chains: chains.map(({ name }) => name),
    rules: [],
    jumps: chains.map(({ jump }) => ruleLine(jump)),
  });
}

/** From `now` back to `before`: for a family that was installed before the other one failed. */
export function putBackDocument(before: NatState, now: NatState): string {
  const jumps = now.jumps.filter((line) => !before.jumps.includes(line));
  const chains = now.chains.filter((name) => !before.chains.includes(name));
  return document([
    ...before.chains.map((name) => `:${name} - [0:0]`),
    ...before.rules,
    ...jumps.map((line) => line.replace(/^-A /, "-D ")),
    ...chains.map((name) => `-F ${name}`),
    ...chains.map((name) => `-X ${name}`),
  ]);
}

/** A rule as a line of iptables-restore. Nothing in it has blanks or quotes: all is checked before. */
export function ruleLine({ chain, args, comment }: Rule): string {
  return `-A ${chain} ${args.join(" ")} -m comment --comment ${comment}`;
}

function leads(state: NatState, chain: string): boolean {
  return state.jumps.some((line) => new RegExp(`-j ${chain}(?: |$)`).test(line));
}

function document(lines: readonly string[]): string {
  return ["*nat", ...lines, "COMMIT", ""].join("\n");
}
