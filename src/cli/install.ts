// `tulle install` and its kin: values in, manifests on standard output, for `kubectl apply -f -`. They
// talk to no cluster; what they need of one is piped in.

import { readFile } from "node:fs/promises";
import { parseAllDocuments } from "yaml";
import { errorText } from "../core/errors.ts";
import type { Manifest } from "../control/injector/containers.ts";
import { cniObjects } from "../install/cni.ts";
import { ISSUER_SECRET, OVERRIDES_SECRET, WEBHOOK_SECRET } from "../install/config.ts";
import { crds } from "../install/crds.ts";
import { CREATED_BY, type InstallInput } from "../install/meta.ts";
import { controlPlaneObjects, toJson, toYaml } from "../install/render.ts";
import type { Values } from "../install/values.ts";
import type { Command, Terminal } from "./command.ts";
import { CliError, EXIT_CONFIG, usageError } from "./failure.ts";
import type { Flags, FlagSpec } from "./flags.ts";
import { chooseValues } from "./install-values.ts";
import { readStdin } from "./stdin.ts";

/** What a large cluster's pods or Secrets are as YAML. */
const MAX_INPUT_BYTES = 256 * 1024 * 1024;

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
  async run(flags, terminal) {
    const { values, overrides } = await chooseValues(flags, {}, flags.has("--ha"));
    return await print(flags, terminal, values, overrides);
  },
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
  async run(flags, terminal) {
    if (flags.has("--crds")) return await installCommand.run(flags, terminal);
    const before = await readObjects(flags, "--from-manifests");
    const secret = (name: string, key: string): string | null => {
      const found = before.find((o) => o.kind === "Secret" && nameOf(o) === name);
      const data = found?.data as Record<string, string> | undefined;
      return data?.[key] === undefined
        ? null
        : new TextDecoder().decode(Uint8Array.from(atob(data[key]), (c) => c.charCodeAt(0)));
    };
    const stored = secret(OVERRIDES_SECRET, OVERRIDES_SECRET);
    if (stored === null) {
      throw new CliError(`There is no Secret ${OVERRIDES_SECRET} in --from-manifests`, {
        hint: "Give what kubectl get secrets,configmaps -n linkerd -o yaml prints",
      });
    }
    let overridden: unknown;
    try {
      overridden = JSON.parse(stored);
    } catch {
      throw new CliError(`The Secret ${OVERRIDES_SECRET} is not as install writes it`);
    }
    const { values, overrides } = await chooseValues(flags, overridden, flags.has("--ha"));
    const roots = before.find((o) =>
      o.kind === "ConfigMap" && nameOf(o) === "linkerd-identity-trust-roots"
    )?.data as Record<string, string> | undefined;
    const { issuer } = values.identity;
    const hook = values.proxyInjector;
    const keep = issuer.crtPEM === "" && values.identityTrustAnchorsPEM === "";
    return await print(flags, terminal, {
      ...values,
      identityTrustAnchorsPEM: keep
        ? roots?.["ca-bundle.crt"] ?? ""
        : values.identityTrustAnchorsPEM,
      identity: {
        ...values.identity,
        issuer: {
          ...issuer,
          crtPEM: keep ? secret(ISSUER_SECRET, "crt.pem") ?? "" : issuer.crtPEM,
          keyPEM: keep ? secret(ISSUER_SECRET, "key.pem") ?? "" : issuer.keyPEM,
        },
      },
      proxyInjector: {
        ...hook,
        crtPEM: hook.crtPEM === "" ? secret(WEBHOOK_SECRET, "tls.crt") ?? "" : hook.crtPEM,
        keyPEM: hook.keyPEM === "" ? secret(WEBHOOK_SECRET, "tls.key") ?? "" : hook.keyPEM,
      },
    }, overrides);
  },
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
  async run(flags, terminal) {
    const { values, overrides } = await chooseValues(flags);
    const ns = values.controlPlaneNamespace;
    if (!flags.has("--force")) {
      if (flags.text("--from-manifests") === null) {
        throw usageError(
          "--from-manifests is missing: pods that are meshed would lose their control plane",
          "Pipe in kubectl get pods -A -o yaml, or give --force",
        );
      }
      const meshed = (await readObjects(flags, "--from-manifests")).filter((o) => {
        const meta = o.metadata as { labels?: Record<string, string>; namespace?: string };
        return o.kind === "Pod" && meta.labels?.["linkerd.io/control-plane-ns"] === ns &&
          meta.namespace !== ns;
      });
      if (meshed.length > 0) {
        const [first] = meshed;
        const at = first?.metadata as { namespace?: string; name?: string };
        throw new CliError(
          `${meshed.length} pods are meshed still, such as ${at.namespace}/${at.name}`,
          { hint: "Uninject them first, or give --force" },
        );
      }
    }
    const all = [
      ...controlPlaneObjects({ values, anchorsSha256: "", overrides }),
      ...crds(ns, CREATED_BY),
    ];
    const gone = all.filter((o) =>
      o.kind === "Namespace" || !("namespace" in (o.metadata as object))
    )
      .map(({ apiVersion, kind, metadata }) => ({
        apiVersion,
        kind,
        metadata: { name: (metadata as { name: string }).name },
      }));
    write(flags, terminal, gone);
    return 0;
  },
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
  async run(flags, terminal) {
    const { values, overrides } = await chooseValues(flags, {}, flags.has("--ha"));
    const ns = values.controlPlaneNamespace;
    const wanted = new Set(
      [
        ...controlPlaneObjects({ values, anchorsSha256: "", overrides }),
        ...crds(ns, CREATED_BY),
      ].map(idOf),
    );
    // Made by the cluster from what is installed: they go with it.
    const derived = new Set(["Pod", "ReplicaSet", "Endpoints", "EndpointSlice", "Event", "Lease"]);
    const gone = (await readObjects(flags, "--from-manifests")).filter((o) => {
      const meta = o.metadata as { labels?: Record<string, string> };
      return meta.labels?.["linkerd.io/control-plane-ns"] === ns &&
        meta.labels["linkerd.io/extension"] === undefined &&
        !derived.has(String(o.kind)) && !wanted.has(idOf(o));
    }).map(({ apiVersion, kind, metadata }) => {
      const { name, namespace } = metadata as { name: string; namespace?: string };
      return {
        apiVersion,
        kind,
        metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
      };
    });
    write(flags, terminal, gone);
    return 0;
  },
};

/** The CNI plugin. */
export const installCniCommand: Command = {
  name: "install-cni",
  summary: "Print the manifests of the CNI plugin",
  usage: "[--set KEY=VALUE …] [-f FILE]",
  flags: VALUE_FLAGS,
  notes: ["Install the control plane with --set cniEnabled=true then."],
  async run(flags, terminal) {
    const { values } = await chooseValues(flags);
    write(flags, terminal, cniObjects(values));
    return 0;
  },
};

async function print(
  flags: Flags,
  terminal: Terminal,
  chosen: Values,
  overrides: string,
): Promise<number> {
  if (flags.has("--crds")) {
    write(flags, terminal, crds(chosen.controlPlaneNamespace, CREATED_BY));
    return 0;
  }
  // only here: it takes longer to load than all the rest
  const { sha256Text, withCertificates } = await import("./install-certificates.ts");
  const values = await withCertificates(chosen, Date.now());
  const input: InstallInput = {
    values,
    anchorsSha256: sha256Text(values.identityTrustAnchorsPEM),
    overrides,
  };
  write(flags, terminal, controlPlaneObjects(input));
  return 0;
}

function write(flags: Flags, terminal: Terminal, objects: readonly Manifest[]): void {
  const output = flags.text("--output") ?? "yaml";
  if (output !== "yaml" && output !== "json") {
    throw usageError(`--output ${JSON.stringify(output)} is neither yaml nor json`);
  }
  terminal.write(output === "yaml" ? toYaml(objects) : toJson(objects));
}

/** Objects of a file or of standard input; a List gives its items. */
async function readObjects(flags: Flags, flag: string): Promise<Manifest[]> {
  const path = flags.text(flag);
  if (path === null) throw usageError(`${flag} is missing`);
  let text: string;
  try {
    text = path === "-" ? await readStdin(MAX_INPUT_BYTES) : await readFile(path, "utf8");
  } catch (e) {
    throw new CliError(`${flag} ${path} cannot be read: ${errorText(e)}`, { exit: EXIT_CONFIG });
  }
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) return [];
  const found: Manifest[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      throw new CliError(`${flag} ${path} is not YAML: ${error.message.split("\n")[0]}`, {
        exit: EXIT_CONFIG,
      });
    }
    const value = document.toJS({ maxAliasCount: 100 }) as unknown;
    const items = isObject(value) && Array.isArray(value.items)
      ? value.items as unknown[]
      : [value];
    found.push(
      ...items.filter((item): item is Manifest => isObject(item) && isObject(item.metadata)),
    );
  }
  return found;
}

function isObject(value: unknown): value is { [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nameOf(o: Manifest): string {
  return String((o.metadata as { name?: unknown }).name);
}

function idOf(o: Manifest): string {
  const group = String(o.apiVersion).replace(/\/?[^/]*$/, "");
  const { namespace } = o.metadata as { namespace?: string };
  return `${group}/${String(o.kind)}/${namespace ?? ""}/${nameOf(o)}`;
}
