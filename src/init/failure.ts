// Why rules could not be written, in one line that says what to do: the programs' own messages, told
// apart. Pure.

/** What is wrong. */
export type Cause =
  /** The program is not installed. */
  | "no-program"
  /** A match or target library is not installed. */
  | "no-library"
  | "no-module"
  | "no-permission"
  | "no-lock"
  | "locked"
  | "mixed"
  /** The network namespace that was named cannot be entered. */
  | "no-netns"
  | "other";

/** Rules were not written. */
export class InitFailure extends Error {
  readonly kind: Cause;

  constructor(cause: Cause, message: string) {
    super(message);
    this.name = "InitFailure";
    this.kind = cause;
  }

  /** Another mode may work where this one cannot. */
  get modeCannotWork(): boolean {
    return this.kind === "no-program" || this.kind === "no-library" ||
      this.kind === "no-module";
  }
}

/** What a command that was run left. */
export interface CommandResult {
  /** Null: it was ended by a signal or never started. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** There is no such program. */
  readonly missing: boolean;
}

/** How `nsenter`, which runs a program in another namespace, says that there is none. */
const NOT_ENTERED = /^nsenter: (?:failed to execute|cannot execute)/m;

/**
 * The failure that `result` of `program` means. `ipv6` adds what to do where there is no IPv6; `netns`
 * is the path of the network namespace that it ran in by `nsenter`, null: this one.
 */
export function explain(
  program: string,
  result: CommandResult,
  ipv6: boolean,
  netns: string | null = null,
): InitFailure {
  const { stderr } = result;
  if (result.missing && netns !== null) {
    return new InitFailure("no-netns", "--netns needs nsenter, which is not installed here");
  }
  if (result.missing || NOT_ENTERED.test(stderr)) {
    return new InitFailure("no-program", `${program} is not installed in this image`);
  }
  if (netns !== null && /^nsenter: /m.test(stderr)) {
    return new InitFailure(
      "no-netns",
      `The network namespace ${netns} cannot be entered: give a path that ip netns or the container ` +
        `runtime made, and CAP_SYS_ADMIN (${firstLine(stderr)})`,
    );
  }
  const said = firstLine(stderr) || `exit status ${result.code ?? "none"}`;
  const fail = (cause: Cause, text: string) =>
    new InitFailure(cause, `${program}: ${text} (${said})`);
  const library = /Couldn't load (match|target) `(\w+)'/.exec(stderr);
  if (library !== null) {
    return fail("no-library", `the ${library[1]} ${library[2]} is not installed in this image`);
  }
  if (/can't open lock file/.test(stderr)) {
    return fail(
      "no-lock",
      "its lock file cannot be written: mount a writable /run, or set XTABLES_LOCKFILE",
    );
  }
  if (/holding the xtables lock/.test(stderr)) {
    return fail("locked", "another program holds the lock: run it with --use-wait-flag");
  }
  if (/is incompatible, use 'nft' tool|Device or resource busy/.test(stderr)) {
    return fail(
      "mixed",
      "legacy and nft rules are mixed in this network namespace: use the mode of those that exist",
    );
  }
  if (/you must be root|Operation not permitted|Permission denied/.test(stderr)) {
    return fail(
      "no-permission",
      "the capabilities NET_ADMIN and NET_RAW are missing: add both to the container, or use the CNI plugin",
    );
  }
  if (
    /Table does not exist|insmod|missing kernel module|not supported|Failed to initialize nft|CHAIN_ADD failed|RULE_APPEND failed|TABLE_ADD failed|unable to initialize table/
      .test(stderr)
  ) {
    return fail(
      "no-module",
      ipv6
        ? "a kernel module for IPv6 is missing: load it on the node, or give --ipv6=false"
        : "a kernel module is missing: load it on the node, or use another mode",
    );
  }
  return fail("other", "it failed");
}

function firstLine(text: string): string {
  const line = text.split("\n").map((l) => l.trim()).find((l) =>
    l !== "" && !l.startsWith("#") && !l.startsWith("Try `")
  );
  return (line ?? "").slice(0, 300);
}
