// What `tulle install` and its kin do: values in, manifests on standard output, for `kubectl apply -f -`.
// They talk to no cluster; what they need of one is piped in.

import type { Manifest } from "../control/injector/containers.ts";
import { cniObjects } from "../install/cni.ts";
import { ISSUER_SECRET, OVERRIDES_SECRET, WEBHOOKS, webhookSecret } from "../install/config.ts";
import { crds } from "../install/crds.ts";
import { CREATED_BY, type InstallInput } from "../install/meta.ts";
import { controlPlaneObjects, toJson, toYaml } from "../install/render.ts";
import type { Values } from "../install/values.ts";
import type { Terminal } from "./command.ts";
import { CliError, EXIT_CONFIG, usageError } from "./failure.ts";
import type { Flags } from "./flags.ts";
import { chooseValues } from "./install-values.ts";
import { type KubeObjects, objectName, readObjects } from "./install-objects.ts";

/** Prints what makes a cluster a mesh. */
export async function install(flags: Flags, terminal: Terminal): Promise<number> {
  const { values, overrides } = await chooseValues(flags, {}, flags.has("--ha"));
  return await print(flags, terminal, values, overrides);
}

/** The same with what was set and made before. */
export async function upgrade(flags: Flags, terminal: Terminal): Promise<number> {
  if (flags.has("--crds")) return await install(flags, terminal);
  const { objects: before, from } = await readObjects(flags, "--from-manifests");
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
    throw new CliError(`${from} has no Secret ${OVERRIDES_SECRET}`, {
      exit: EXIT_CONFIG,
      hint: "Give what kubectl get secrets,configmaps -n linkerd -o yaml prints",
    });
  }
  let overridden: unknown;
  try {
    overridden = JSON.parse(stored);
  } catch {
    throw new CliError(`The Secret ${OVERRIDES_SECRET} is not as install writes it`, {
      exit: EXIT_CONFIG,
    });
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
    refuseWhileMeshed(await readObjects(flags, "--from-manifests"), ns);
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

/** Pods outside of the control plane need it; what shows no pods says nothing about them. */
function refuseWhileMeshed({ from, objects, emptyOf }: KubeObjects, ns: string): void {
  const pods = objects.filter((o) => o.kind === "Pod");
  const [other] = objects;
  const empty = emptyOf.find((kind) => kind !== "" && kind !== "Pod");
  if (pods.length === 0 && (other !== undefined || empty !== undefined)) {
    const what = other === undefined ? `a ${empty}List` : objectName(other);
    throw new CliError(`${from} has no Pod to tell what is meshed, but ${what}`, {
      exit: EXIT_CONFIG,
      hint: "Pipe in kubectl get pods -A -o yaml, or give --force",
    });
  }
  const meshed = pods.filter(({ metadata: { labels, namespace } }) =>
    labels?.["linkerd.io/control-plane-ns"] === ns && namespace !== ns
  );
  const [first] = meshed;
  if (first === undefined) return;
  const { namespace, name } = first.metadata;
  const count = meshed.length === 1 ? "1 pod is" : `${meshed.length} pods are`;
  throw new CliError(`${count} meshed still, such as ${namespace}/${name}`, {
    hint: "Uninject them first, or give --force",
  });
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
  const { objects } = await readObjects(flags, "--from-manifests");
  const gone = objects.filter((o) => {
    const { labels } = o.metadata;
    return labels?.["linkerd.io/control-plane-ns"] === ns &&
      labels["linkerd.io/extension"] === undefined &&
      !derived.has(o.kind) && !wanted.has(idOf(o));
  }).map(({ apiVersion, kind, metadata: { name, namespace } }) => {
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

function nameOf(o: Manifest): string {
  return String((o.metadata as { name?: unknown }).name);
}

function idOf(o: Manifest): string {
  const group = String(o.apiVersion).replace(/\/?[^/]*$/, "");
  const { namespace } = o.metadata as { namespace?: string };
  return `${group}/${String(o.kind)}/${namespace ?? ""}/${nameOf(o)}`;
}
