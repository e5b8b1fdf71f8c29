// What `tulle install` and its kin do: values in, manifests on standard output, for `kubectl apply -f -`.
// They talk to no cluster; what they need of one is piped in.

import { readFile } from "node:fs/promises";
import { parseAllDocuments } from "yaml";
import { errorText } from "../core/errors.ts";
import type { Manifest } from "../control/injector/containers.ts";
import { cniObjects } from "../install/cni.ts";
import { ISSUER_SECRET, OVERRIDES_SECRET, WEBHOOKS, webhookSecret } from "../install/config.ts";
import { crds } from "../install/crds.ts";
import { CREATED_BY, type InstallInput } from "../install/meta.ts";
import { controlPlaneObjects, toJson, toYaml } from "../install/render.ts";
import type { Values } from "../install/values.ts";
import type { Terminal } from "./command.ts";
import { CliError, EXIT_CONFIG, fileTrouble, usageError } from "./failure.ts";
import type { Flags } from "./flags.ts";
import { chooseValues } from "./install-values.ts";
import { readStdin } from "./stdin.ts";

/** What a large cluster's pods or Secrets are as YAML. */
const MAX_INPUT_BYTES = 256 * 1024 * 1024;

/** Prints what makes a cluster a mesh. */
export async function install(flags: Flags, terminal: Terminal): Promise<number> {
  const { values, overrides } = await chooseValues(flags, {}, flags.has("--ha"));
  return await print(flags, terminal, values, overrides);
}

/** The same with what was set and made before. */
export async function upgrade(flags: Flags, terminal: Terminal): Promise<number> {
  if (flags.has("--crds")) return await install(flags, terminal);
  const before = await readObjects(flags, "--from-manifests");
  const secret = (name: string, key: string): string | null => {
    const found = before.find((o) => o.kind === "Secret" && nameOf(o) === name);
    const data = found?.data as Record<string, string> | undefined;
    if (data?.[key] === undefined) return null;
    try {
      return new TextDecoder().decode(Uint8Array.from(atob(data[key]), (c) => c.charCodeAt(0)));
    } catch {
      throw new CliError(`${key} of the Secret ${name} is not base64`, { exit: EXIT_CONFIG });
    }
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
  const webhooks = WEBHOOKS.map(({ values: group, service }) => {
    const hook = values[group];
    const kept = (pem: string, key: string) => pem || (secret(webhookSecret(service), key) ?? "");
    return [group, {
      ...hook,
      crtPEM: kept(hook.crtPEM, "tls.crt"),
      keyPEM: kept(hook.keyPEM, "tls.key"),
    }];
  });
  const keep = issuer.crtPEM === "" && values.identityTrustAnchorsPEM === "";
  return await print(flags, terminal, {
    ...values,
    identityTrustAnchorsPEM: keep ? roots?.["ca-bundle.crt"] ?? "" : values.identityTrustAnchorsPEM,
    identity: {
      ...values.identity,
      issuer: {
        ...issuer,
        crtPEM: keep ? secret(ISSUER_SECRET, "crt.pem") ?? "" : issuer.crtPEM,
        keyPEM: keep ? secret(ISSUER_SECRET, "key.pem") ?? "" : issuer.keyPEM,
      },
    },
    ...Object.fromEntries(webhooks) as Partial<Values>,
  }, overrides);
}

/** What is removed with the mesh: the namespace, and what lies in none. */
export async function uninstall(flags: Flags, terminal: Terminal): Promise<number> {
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
  const gone = all.filter((o) => o.kind === "Namespace" || !("namespace" in (o.metadata as object)))
    .map(({ apiVersion, kind, metadata }) => ({
      apiVersion,
      kind,
      metadata: { name: (metadata as { name: string }).name },
    }));
  write(flags, terminal, gone);
  return 0;
}

/** What an older version left behind. */
export async function prune(flags: Flags, terminal: Terminal): Promise<number> {
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
}

/** The CNI plugin. */
export async function installCni(flags: Flags, terminal: Terminal): Promise<number> {
  const { values } = await chooseValues(flags);
  write(flags, terminal, cniObjects(values));
  return 0;
}

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

/**
 * Objects of a file or of standard input; a List gives its items. Nothing at all is refused: it is what
 * a pipe gives whose first command failed, and not a cluster without pods.
 */
async function readObjects(flags: Flags, flag: string): Promise<Manifest[]> {
  const path = flags.text(flag);
  if (path === null) throw usageError(`${flag} is missing`);
  let text: string;
  try {
    text = path === "-" ? await readStdin(MAX_INPUT_BYTES) : await readFile(path, "utf8");
  } catch (e) {
    throw new CliError(`${flag} ${path} ${fileTrouble(e)}`, { exit: EXIT_CONFIG, cause: e });
  }
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) throw noObjects(flag, path);
  const found: Manifest[] = [];
  let documentsWithObjects = 0;
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      throw new CliError(`${flag} ${path} is not YAML: ${error.message.split("\n")[0]}`, {
        exit: EXIT_CONFIG,
      });
    }
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch (e) {
      throw new CliError(`${flag} ${path} is not YAML: ${errorText(e)}`, { exit: EXIT_CONFIG });
    }
    if (value === null) continue;
    if (!isObject(value) || typeof value.kind !== "string") throw noObjects(flag, path);
    documentsWithObjects++;
    const items = Array.isArray(value.items) ? value.items as unknown[] : [value];
    found.push(
      ...items.filter((item): item is Manifest => isObject(item) && isObject(item.metadata)),
    );
  }
  if (documentsWithObjects === 0) throw noObjects(flag, path);
  return found;
}

function noObjects(flag: string, path: string): CliError {
  return new CliError(`${flag} ${path} has no Kubernetes objects`, {
    exit: EXIT_CONFIG,
    hint: "Give what kubectl get … -o yaml prints; if it failed, mend that first",
  });
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
