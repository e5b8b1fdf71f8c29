// `tulle install` and its kin: what they are called and take. What they do is loaded when one of them is
// run, since it is much more than the other commands need.

import type { Command } from "./command.ts";
import type { FlagSpec } from "./flags.ts";

const OUTPUT: FlagSpec = { name: "--output", short: "-o", value: "yaml|json", summary: "(yaml)" };
const VALUE_FLAGS: readonly FlagSpec[] = [
  {
    name: "--set",
    value: "KEY=VALUE",
    repeat: true,
    summary: "Set a value, such as proxyInit.mode=legacy",
  },
  { name: "--set-string", value: "KEY=TEXT", repeat: true, summary: "Set a value to text" },
  { name: "--set-file", value: "KEY=FILE", repeat: true, summary: "Set a value to a file's text" },
  { name: "--values", short: "-f", value: "FILE", repeat: true, summary: "Values as YAML" },
  OUTPUT,
];
const INSTALL_FLAGS: readonly FlagSpec[] = [
  { name: "--crds", summary: "Print the custom resources only; they are applied first" },
  { name: "--ha", summary: "Three replicas, apart from each other, with budgets and requests" },
  ...VALUE_FLAGS,
];
const FROM: FlagSpec = {
  name: "--from-manifests",
  value: "FILE|-",
  summary: "What is installed: kubectl get secrets -n linkerd -o yaml",
};

/** Prints what makes a cluster a mesh. */
export const installCommand: Command = {
  name: "install",
  summary: "Print the manifests of the control plane",
  usage: "[--crds] [--ha] [--set KEY=VALUE …] [-f FILE]",
  flags: INSTALL_FLAGS,
  notes: [
    "Example: tulle install --crds | kubectl apply -f -",
    '         tulle install --set "proxyInit.mode=nft" | kubectl apply -f -',
    "Certificates that no value gives are made anew by each run: upgrade keeps those that are there.",
  ],
  run: async (flags, terminal) => await (await import("./install-run.ts")).install(flags, terminal),
};

/** The same with what was set and made before. */
export const upgradeCommand: Command = {
  name: "upgrade",
  summary: "Print the manifests with the values and certificates of an installation",
  usage: "--from-manifests FILE|- [install's flags]",
  flags: [FROM, ...INSTALL_FLAGS],
  notes: [
    "Example: kubectl get secrets,configmaps -n linkerd -o yaml |",
    "           tulle upgrade --from-manifests - | kubectl apply -f -",
  ],
  run: async (flags, terminal) => await (await import("./install-run.ts")).upgrade(flags, terminal),
};

/** What is removed with the mesh: the namespace, and what lies in none. */
export const uninstallCommand: Command = {
  name: "uninstall",
  summary: "Print what kubectl delete -f - takes away with the control plane",
  usage: "[--from-manifests FILE|- | --force]",
  flags: [
    {
      name: "--from-manifests",
      value: "FILE|-",
      summary: "The cluster's pods: kubectl get pods -A -o yaml; injected ones refuse",
    },
    { name: "--force", summary: "Without looking at pods" },
    ...VALUE_FLAGS,
  ],
  notes: [
    "Example: kubectl get pods -A -o yaml | tulle uninstall --from-manifests - |" +
    " kubectl delete -f -",
  ],
  run: async (flags, terminal) =>
    await (await import("./install-run.ts")).uninstall(flags, terminal),
};

/** What an older version left behind. */
export const pruneCommand: Command = {
  name: "prune",
  summary: "Print objects of the control plane that this version has not any more",
  usage: "--from-manifests FILE|- [install's flags]",
  flags: [FROM, ...INSTALL_FLAGS],
  notes: [
    "Example: kubectl get all,secrets,configmaps,clusterroles -A -o yaml \\",
    "             -l linkerd.io/control-plane-ns=linkerd |",
    "           tulle prune --from-manifests - | kubectl delete -f -",
  ],
  run: async (flags, terminal) => await (await import("./install-run.ts")).prune(flags, terminal),
};

/** The CNI plugin. */
export const installCniCommand: Command = {
  name: "install-cni",
  summary: "Print the manifests of the CNI plugin",
  usage: "[--set KEY=VALUE …] [-f FILE]",
  flags: VALUE_FLAGS,
  notes: [
    "Example: tulle install-cni | kubectl apply -f -",
    "Then install the control plane with --set cniEnabled=true: its pods and all that are injected\n" +
    "from then on need no NET_ADMIN.",
  ],
  run: async (flags, terminal) =>
    await (await import("./install-run.ts")).installCni(flags, terminal),
};
