// `tulle cni-repair`: what the command is called and takes. What it does is loaded when it is run, since
// it brings a client of the Kubernetes API, which other commands must not wait for.

import { REPAIR_PREFIX } from "../cni/repair.ts";
import type { Command } from "./command.ts";

/** Repairs the pods of a node. */
export const cniRepairCommand: Command = {
  name: "cni-repair",
  summary: "Delete this node's pods that started before the CNI plugin",
  usage: "--node-name NAME [flags]",
  flags: [
    { name: "--node-name", value: "NAME", summary: `Also by ${REPAIR_PREFIX}NODE_NAME` },
    { name: "--controller-pod-name", value: "NAME", summary: `Also by ${REPAIR_PREFIX}POD_NAME` },
    { name: "--admin-addr", value: "ADDR", summary: "/live, /ready, /metrics (0.0.0.0:9990)" },
    { name: "--kubeconfig", value: "FILE", summary: "Not as the pod's service account" },
    { name: "--log-level", value: "LEVEL", summary: `Also by ${REPAIR_PREFIX}LOG_LEVEL (info)` },
    {
      name: "--log-format",
      value: "plain|json",
      summary: `Also by ${REPAIR_PREFIX}LOG_FORMAT (plain)`,
    },
  ],
  notes: [
    "A pod whose linkerd-network-validator ended with 95 has no rules and never gets any: it is\n" +
    "deleted, so that its controller makes a new one. A pod without one is told of by an event.",
  ],
  run: async (flags, terminal) =>
    await (await import("./cni-repair-run.ts")).repair(flags, terminal),
};
