// The programs that write rules: which ones a mode means, and what is tried when it cannot work.

import type { Family } from "./subnets.ts";

/** What an operator may ask for; `auto` takes the first that works. */
export const MODE_NAMES = ["legacy", "nft", "plain", "auto"] as const;
export type ModeName = (typeof MODE_NAMES)[number];
/** A mode that rules are written in. */
export type Mode = Exclude<ModeName, "auto">;

/** Linkerd's order of what to take instead. */
const INSTEAD: readonly Mode[] = ["nft", "plain", "legacy"];
/** What `auto` tries: `plain` last, since it is one of the others under another name. */
const AUTO: readonly Mode[] = ["nft", "legacy", "plain"];

/** Program names of a mode and family. */
export interface Programs {
  readonly restore: string;
  readonly save: string;
}

/** The programs of a mode. */
export function programsOf(mode: Mode, family: Family): Programs {
  const base = (family === "ipv4" ? "iptables" : "ip6tables") +
    (mode === "plain" ? "" : `-${mode}`);
  return { restore: `${base}-restore`, save: `${base}-save` };
}

/** The modes to try, in order. */
export function candidates(asked: ModeName): readonly Mode[] {
  if (asked === "auto") return AUTO;
  return [asked, ...INSTEAD.filter((mode) => mode !== asked)];
}

/** The modes in which rules may be left that contradict those of `mode`. */
export function rivals(mode: Exclude<Mode, "plain">): readonly Mode[] {
  return mode === "nft" ? ["legacy"] : ["nft"];
}

/** Which kind `plain` is, by what its program says of itself (`iptables-save v1.8.9 (nf_tables)`). */
export function kindOfPlain(version: string): Exclude<Mode, "plain"> | null {
  if (version.includes("(nf_tables)")) return "nft";
  // Before 1.8 there was one kind, and it did not name itself.
  return /\(legacy\)|v1\.[0-7]\./.test(version) ? "legacy" : null;
}

/**
 * The mode that `--firewall-bin-path` means, Linkerd's old way to choose. Null for what is none.
 */
export function modeOfBinary(path: string): Mode | null {
  switch (path) {
    case "":
    case "iptables-legacy":
      return "legacy";
    case "iptables-nft":
      return "nft";
    case "iptables":
      return "plain";
    default:
      return null;
  }
}
