// `tulle cni`: the CNI plugin, run as a container runtime runs it. On a host the same code is an
// executable of its own.

import { VERSIONS } from "../cni/call.ts";
import type { Command } from "./command.ts";

/** Answers one call of a container runtime. */
export const cniCommand: Command = {
  name: "cni",
  summary: "Answer a container runtime as a CNI plugin",
  usage: "< CONFIGURATION",
  flags: [],
  notes: [
    `Versions ${VERSIONS.join(", ")}. A runtime sets CNI_COMMAND and what goes with it;\n` +
    "the plugin stands in a list after the one that makes the network: tulle cni-install does that.",
    'Example: echo \'{"cniVersion":"1.0.0"}\' | CNI_COMMAND=VERSION tulle cni',
  ],
  run: async () => await (await import("./cni-run.ts")).runCni(),
};
