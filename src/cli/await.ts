// `tulle await`: what it is called and takes, the flags of linkerd-await. What it does is loaded when it is
// run.

import type { Command } from "./command.ts";

/** Waits for a proxy. */
export const awaitCommand: Command = {
  name: "await",
  summary: "Wait until the proxy is ready, then run a command",
  usage: "[--port PORT] [--timeout TIME] [--shutdown] [COMMAND …]",
  operands: { min: 0, max: 1000 },
  flags: [
    { name: "--port", short: "-p", value: "PORT", summary: "The proxy's admin port (4191)" },
    { name: "--timeout", short: "-t", value: "TIME", summary: "After which it fails (for ever)" },
    { name: "--backoff", short: "-b", value: "TIME", summary: "Between two looks (1s)" },
    { name: "--shutdown", short: "-S", summary: "End the proxy when the command ends" },
  ],
  notes: [
    "Example, for a Job without native sidecars: tulle await --shutdown ./work",
    'Flags of COMMAND stand in one word with it: tulle await "./work --all" is run by no shell.',
    "--shutdown needs config.linkerd.io/proxy-admin-shutdown: enabled.",
  ],
  run: async (flags, terminal) =>
    await (await import("./await-run.ts")).awaitProxy(flags, terminal),
};
