// `tulle inject` and `tulle uninject`: what they are called and take. What they do is loaded when one of
// them is run.

import type { Command } from "./command.ts";
import type { FlagSpec } from "./flags.ts";
import { ANNOTATIONS } from "./inject-flags.ts";

const OUTPUT: FlagSpec = { name: "--output", short: "-o", value: "yaml|json", summary: "(yaml)" };

/** Meshes workloads. */
export const injectCommand: Command = {
  name: "inject",
  summary: "Put the mesh's annotation, or the sidecar, into manifests",
  usage: "FILE|FOLDER|- … [flags]",
  operands: { min: 1, max: 1000 },
  flags: [
    { name: "--manual", summary: "The whole sidecar; needs --trust-anchors" },
    { name: "--trust-anchors", value: "FILE", summary: "PEM; of the mesh that pods join" },
    { name: "--ingress", summary: "As an ingress: l5d-dst-override routes" },
    { name: "--enable-debug-sidecar", summary: "With a container of tools" },
    ...ANNOTATIONS.map(([name, value, key]): FlagSpec => ({
      name,
      value,
      summary: `config.linkerd.io/${key}`,
    })),
    { name: "--set", value: "KEY=VALUE", repeat: true, summary: "A value, for --manual" },
    { name: "--set-string", value: "KEY=TEXT", repeat: true, summary: "A value as text" },
    { name: "--set-file", value: "KEY=FILE", repeat: true, summary: "A value as a file's text" },
    { name: "--values", short: "-f", value: "FILE", repeat: true, summary: "Values as YAML" },
    OUTPUT,
  ],
  notes: [
    "Example: kubectl get deploy -o yaml | tulle inject - | kubectl apply -f -",
    "The report goes to standard error, manifests to standard output.",
  ],
  run: async (flags, terminal) => await (await import("./inject-run.ts")).inject(flags, terminal),
};

/** Takes workloads out of the mesh. */
export const uninjectCommand: Command = {
  name: "uninject",
  summary: "Take the mesh's annotations and sidecar out of manifests",
  usage: "FILE|FOLDER|- …",
  operands: { min: 1, max: 1000 },
  flags: [OUTPUT],
  notes: ["Example: kubectl get deploy -o yaml | tulle uninject - | kubectl apply -f -"],
  run: async (flags, terminal) => await (await import("./inject-run.ts")).uninject(flags, terminal),
};
