// `tulle init`: the flags of Linkerd's proxy-init, so that it stands in for it in a pod, and the rules
// installed, removed or printed. What the rules are is in `src/init`.

import { errorText } from "../core/errors.ts";
import { createLogger, type LogLevel } from "../core/log.ts";
import { InitFailure } from "../init/failure.ts";
import { MODE_NAMES, type ModeName, modeOfBinary } from "../init/modes.ts";
import { parsePortRanges, type PortRange } from "../init/ports.ts";
import type { InterceptOptions } from "../init/rules.ts";
import { type InitPlace, install, remove, script } from "../init/run.ts";
import { parseSubnet } from "../init/subnets.ts";
import { runCommand, setCloseWait } from "../runtime/iptables-run.ts";
import { SYSTEM_CLOCK } from "../runtime/process.ts";
import type { Command } from "./command.ts";
import { CliError, usageError } from "./failure.ts";
import { type Flags, parseWhole, quote } from "./flags.ts";

/** Logrus' names, as proxy-init takes them. */
const LEVELS: Readonly<Record<string, LogLevel>> = {
  panic: "error",
  fatal: "error",
  error: "error",
  warn: "warn",
  warning: "warn",
  info: "info",
  debug: "debug",
  trace: "trace",
};
const BOOLEANS = { value: "true|false", bare: "true" };
const LIST = { repeat: true, mayBeEmpty: true };

/** Sends a pod's TCP through its proxy. */
export const initCommand: Command = {
  name: "init",
  summary: "Write the iptables rules that send a pod's TCP through its proxy",
  usage: "--incoming-proxy-port PORT --outgoing-proxy-port PORT [flags]",
  flags: [
    {
      name: "--incoming-proxy-port",
      short: "-p",
      value: "PORT",
      summary: "Where TCP that arrives goes",
    },
    {
      name: "--outgoing-proxy-port",
      short: "-o",
      value: "PORT",
      summary: "Where TCP that the pod sends goes",
    },
    { name: "--proxy-uid", short: "-u", value: "UID", summary: "This user's traffic passes (-1)" },
    { name: "--proxy-gid", short: "-g", value: "GID", summary: "This group's traffic passes (-1)" },
    {
      name: "--ports-to-redirect",
      short: "-r",
      value: "PORT[,PORT…]",
      ...LIST,
      summary: "Only these arriving ports are redirected (all)",
    },
    {
      name: "--inbound-ports-to-ignore",
      value: "PORTS",
      ...LIST,
      summary: "Arriving ports that pass, such as 22,8000-8010",
    },
    {
      name: "--outbound-ports-to-ignore",
      value: "PORTS",
      ...LIST,
      summary: "Ports and ranges that pass on their way out",
    },
    {
      name: "--subnets-to-ignore",
      value: "CIDR[,CIDR…]",
      ...LIST,
      summary: "Sources whose connections pass on their way in",
    },
    {
      name: "--iptables-mode",
      value: MODE_NAMES.join("|"),
      summary: "How they are written (legacy)",
    },
    { name: "--ipv6", ...BOOLEANS, summary: "The same for IPv6 (true)" },
    {
      name: "--simulate",
      ...BOOLEANS,
      summary: "Print a shell script that does it, and do nothing (false)",
    },
    { name: "--undo", summary: "Remove the rules, in every mode that has them" },
    {
      name: "--netns",
      value: "PATH",
      mayBeEmpty: true,
      summary: "In this network namespace instead (nsenter)",
    },
    {
      name: "--use-wait-flag",
      short: "-w",
      ...BOOLEANS,
      summary: "Wait for the lock of other iptables programs (false)",
    },
    {
      name: "--timeout-close-wait-secs",
      value: "SECONDS",
      summary: "Set conntrack's close-wait time-out; needs root (0)",
    },
    { name: "--log-format", value: "plain|json", summary: "(plain)" },
    { name: "--log-level", value: "LEVEL", summary: "error, warn, info, debug, trace (info)" },
    {
      name: "--firewall-bin-path",
      value: "NAME",
      mayBeEmpty: true,
      summary: "The old way: iptables-nft, iptables-legacy or iptables",
    },
    {
      name: "--firewall-save-bin-path",
      value: "NAME",
      mayBeEmpty: true,
      summary: "Accepted; it follows from the mode",
    },
  ],
  notes: [
    "It needs NET_ADMIN and NET_RAW. Each address family is one transaction: all of it or nothing.",
    "A mode whose programs or kernel modules are missing is replaced by one that works, and the log\n" +
    "says so; auto takes the first that works of nft, legacy, plain.",
    "Example: tulle init -p 4143 -o 4140 --proxy-uid 2102 --inbound-ports-to-ignore 4190,4191",
  ],
  async run(flags, terminal) {
    const notes: string[] = [];
    const o = initOptions(flags, (line) => notes.push(line));
    const log = createLogger({
      level: o.level,
      format: o.format,
      wall: SYSTEM_CLOCK.wall,
      write: terminal.out,
    });
    for (const note of notes) {
      if (o.simulate) terminal.err(note);
      else log.error(note);
    }
    if (o.simulate) {
      for (const line of simulation(o)) terminal.out(line);
      return 0;
    }
    try {
      if (o.undo) {
        await remove(o.place, runCommand, log);
        return 0;
      }
      if (o.closeWaitSeconds > 0) await setCloseWait(o.closeWaitSeconds, enter(o.place));
      await install(o.intercept, o.place, runCommand, log);
      return 0;
    } catch (e) {
      throw e instanceof InitFailure ? new CliError(e.message) : e;
    }
  },
};

/** What the flags of one run say. */
export interface InitRun {
  readonly intercept: InterceptOptions;
  readonly place: InitPlace;
  readonly undo: boolean;
  readonly simulate: boolean;
  /** 0: leave it as it is. */
  readonly closeWaitSeconds: number;
  readonly level: LogLevel;
  readonly format: "plain" | "json";
}

/** Checks the flags. `note` hears of list elements that are left out, as proxy-init does. */
export function initOptions(flags: Flags, note: (line: string) => void): InitRun {
  const undo = flags.has("--undo");
  const mode = modeOf(flags);
  const netns = flags.text("--netns");
  return {
    intercept: {
      inboundPort: proxyPort(flags, "--incoming-proxy-port", undo),
      outboundPort: proxyPort(flags, "--outgoing-proxy-port", undo),
      proxyUid: id(flags, "--proxy-uid"),
      proxyGid: id(flags, "--proxy-gid"),
      portsToRedirect: list(flags, "--ports-to-redirect")
        .map((text) => parseWhole("--ports-to-redirect", text, 0, 65535)),
      inboundIgnore: ranges(flags, "--inbound-ports-to-ignore", note),
      outboundIgnore: ranges(flags, "--outbound-ports-to-ignore", note),
      subnetsIgnore: list(flags, "--subnets-to-ignore").map((text) => {
        try {
          return parseSubnet(text);
        } catch (e) {
          throw usageError(`--subnets-to-ignore: ${errorText(e)}`);
        }
      }),
    },
    place: {
      // What is to be removed may have been written in any mode.
      mode: mode ?? (undo ? "auto" : "legacy"),
      ipv6: boolean(flags, "--ipv6", true),
      netns: netns === "" ? null : netns,
      wait: boolean(flags, "--use-wait-flag", false),
    },
    undo,
    simulate: boolean(flags, "--simulate", false),
    closeWaitSeconds: parseWhole(
      "--timeout-close-wait-secs",
      flags.text("--timeout-close-wait-secs") ?? "0",
      0,
      10_000_000,
    ),
    level: level(flags.text("--log-level") ?? "info"),
    format: format(flags.text("--log-format") ?? "plain"),
  };
}

function simulation(o: InitRun): readonly string[] {
  const closeWait = o.closeWaitSeconds > 0 && !o.undo
    ? [
      [
        ...enter(o.place),
        ...["sysctl", "-w"],
        `net.netfilter.nf_conntrack_tcp_timeout_close_wait=${o.closeWaitSeconds}`,
      ].join(" "),
    ]
    : [];
  return [...closeWait, ...script(o.intercept, o.place, o.undo ? "remove" : "install")];
}

function enter({ netns }: InitPlace): readonly string[] {
  return netns === null ? [] : ["nsenter", `--net=${netns}`, "--"];
}

function proxyPort(flags: Flags, name: string, undo: boolean): number {
  const text = flags.text(name);
  if (text === null && undo) return 0;
  const port = text !== null && /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (port < 0 || port > 65535) {
    throw usageError(
      `${name} must be a valid TCP port number`,
      text === null ? `It is missing; example: ${name} 4143` : `It is ${quote(text)}`,
    );
  }
  return port;
}

/** -1 as in proxy-init, 0 and absent: no exemption. */
function id(flags: Flags, name: string): number | null {
  const text = flags.text(name);
  if (text === null || text === "-1") return null;
  return parseWhole(name, text, 0, 999_999_999);
}

function list(flags: Flags, name: string): readonly string[] {
  return flags.all(name).flatMap((text) => text.split(",")).map((text) => text.trim())
    .filter((text) => text !== "");
}

function ranges(flags: Flags, name: string, note: (line: string) => void): PortRange[] {
  return parsePortRanges(list(flags, name), (element) => {
    note(`${name}: ${quote(element)} is not PORT or LOW-HIGH and is left out`);
  });
}

function boolean(flags: Flags, name: string, or: boolean): boolean {
  const text = flags.text(name);
  if (text === null) return or;
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw usageError(`${name}=${quote(text)} is neither true nor false`);
}

function modeOf(flags: Flags): ModeName | null {
  const text = flags.text("--iptables-mode");
  if (text !== null) {
    const mode = MODE_NAMES.find((name) => name === text);
    if (mode !== undefined) return mode;
    throw usageError(`--iptables-mode ${quote(text)} is not one of ${MODE_NAMES.join(", ")}`);
  }
  const path = flags.text("--firewall-bin-path");
  if (path === null) return null;
  const mode = modeOfBinary(path);
  if (mode !== null) return mode;
  throw usageError(
    `--firewall-bin-path ${quote(path)} is none of iptables-legacy, iptables-nft, iptables`,
    "Give --iptables-mode instead",
  );
}

function level(text: string): LogLevel {
  const found = LEVELS[text];
  if (found !== undefined) return found;
  throw usageError(`--log-level ${quote(text)} is not one of ${Object.keys(LEVELS).join(", ")}`);
}

function format(text: string): "plain" | "json" {
  if (text === "plain" || text === "json") return text;
  throw usageError(`--log-format ${quote(text)} is neither plain nor json`);
}
