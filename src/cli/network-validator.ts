// `tulle network-validator`: Linkerd's validator, which a pod runs in place of the init container when
// the CNI plugin writes its rules. Ends with 95 when traffic is not redirected.

import { parseSocketAddr, type SocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import { createLogger, LOG_LEVELS } from "../core/log.ts";
import { EXIT_NOT_REDIRECTED, mismatch, parseTimeout, randomToken } from "../init/validator.ts";
import { readEnv } from "../runtime/env.ts";
import { readThrough, secureRandom } from "../runtime/iptables-validate.ts";
import { onStopSignal, SYSTEM_CLOCK } from "../runtime/process.ts";
import process from "node:process";
import type { Command } from "./command.ts";
import { usageError } from "./failure.ts";
import { type Flags, quote } from "./flags.ts";

const LEVEL = "LINKERD_NETWORK_VALIDATOR_LOG_LEVEL";
const FORMAT = "LINKERD_NETWORK_VALIDATOR_LOG_FORMAT";

/** Checks that the pod's traffic is redirected. */
export const networkValidatorCommand: Command = {
  name: "network-validator",
  summary: "Check that this pod's TCP is redirected to its proxy",
  usage: "[flags]",
  flags: [
    {
      name: "--listen-addr",
      value: "ADDR",
      summary: "Where redirected TCP arrives (0.0.0.0:4140)",
    },
    { name: "--connect-addr", value: "ADDR", summary: "What is connected to (192.0.2.2:1404)" },
    { name: "--timeout", value: "DURATION", summary: "How long it may take (10s)" },
    { name: "--log-level", value: "LEVEL", summary: `Also by ${LEVEL} (info)` },
    { name: "--log-format", value: "plain|json", summary: `Also by ${FORMAT} (plain)` },
  ],
  notes: [
    `Exit status: 0 redirected, ${EXIT_NOT_REDIRECTED} not redirected, timed out or stopped.`,
    "Its user must not be the proxy's, whose traffic is not redirected.",
  ],
  async run(flags, terminal) {
    const env = readEnv([LEVEL, FORMAT]);
    const at = address(flags, "--listen-addr", "0.0.0.0:4140");
    const to = address(flags, "--connect-addr", "192.0.2.2:1404");
    const timeoutText = flags.text("--timeout") ?? "10s";
    const timeoutMs = parseTimeout(timeoutText);
    if (timeoutMs === null) {
      throw usageError(`--timeout ${quote(timeoutText)} is not a duration: write 500ms, 10s or 2m`);
    }
    const levelText = flags.text("--log-level") ?? env.get(LEVEL) ?? "info";
    const level = LOG_LEVELS.find((name) => name === levelText);
    if (level === undefined) {
      throw usageError(`--log-level ${quote(levelText)} is not one of ${LOG_LEVELS.join(", ")}`);
    }
    const format = flags.text("--log-format") ?? env.get(FORMAT) ?? "plain";
    if (format !== "plain" && format !== "json") {
      throw usageError(`--log-format ${quote(format)} is neither plain nor json`);
    }
    const log = createLogger({ level, format, wall: SYSTEM_CLOCK.wall, write: terminal.out });
    onStopSignal((signal) => {
      log.error("Stopped before it was done", { signal });
      process.exit(EXIT_NOT_REDIRECTED);
    });
    const fail = (why: string): number => {
      log.error("Traffic is not redirected: the init container or CNI plugin did not do its work", {
        why,
      });
      return EXIT_NOT_REDIRECTED;
    };
    try {
      const token = randomToken(secureRandom);
      const why = mismatch(token, await readThrough(at, to, token, timeoutMs));
      if (why !== null) return fail(why);
      log.info("Traffic is redirected");
      return 0;
    } catch (e) {
      return fail(errorText(e));
    }
  },
};

function address(flags: Flags, name: string, or: string): SocketAddr {
  try {
    return parseSocketAddr(flags.text(name) ?? or);
  } catch (e) {
    throw usageError(`${name}: ${errorText(e)}`);
  }
}
