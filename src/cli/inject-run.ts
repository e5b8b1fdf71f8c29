// What `tulle inject` and `tulle uninject` do: the annotation, or with --manual the whole sidecar, put
// into manifests and taken out of them. The sidecar is made by the function that the webhook uses.

import { createHash } from "node:crypto";
import { type Document, isMap } from "yaml";
import { Field, FieldError } from "../control/field.ts";
import { obstacles, SKIP_TEXTS } from "../control/injector/decide.ts";
import { injectPod, skipText } from "../control/injector/inject.ts";
import { readPod } from "../control/injector/pod.ts";
import { VERSION } from "../control/injector/values.ts";
import { errorText } from "../core/errors.ts";
import type { Values } from "../install/values.ts";
import type { Terminal } from "./command.ts";
import { CliError, EXIT_CONFIG, usageError } from "./failure.ts";
import type { Flags } from "./flags.ts";
import { ANNOTATIONS, refused } from "./inject-flags.ts";
import {
  documentsText,
  type FoundObject,
  type NodePath,
  objectsOf,
  parseDocuments,
  patchAt,
  plain,
  removeAt,
  setAt,
} from "./inject-documents.ts";
import { readInputs } from "./inject-inputs.ts";
import { chooseValues, readText } from "./install-values.ts";

const INJECT = "linkerd.io/inject";

/** Where a kind has its pod. */
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: ["spec", "template"],
  ReplicaSet: ["spec", "template"],
  ReplicationController: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};

/** Meshes workloads. */
export async function inject(flags: Flags, terminal: Terminal): Promise<number> {
  const annotations = wanted(flags);
  const manual = flags.has("--manual")
    ? { ...await chooseValues(flags), anchorsPem: await anchors(flags) }
    : null;
  return await each(flags, terminal, (object) => {
    const at = TEMPLATES[object.kind];
    if (object.kind === "Namespace" || object.kind === "Service") {
      return annotateOnly(object, annotations);
    }
    if (at === undefined) return "skipped";
    return injectOne(object, at, annotations, manual, terminal);
  });
}

/** Takes workloads out of the mesh. */
export function uninject(flags: Flags, terminal: Terminal): Promise<number> {
  return each(flags, terminal, (object) => {
    const at = object.kind === "Namespace" || object.kind === "Service"
      ? []
      : TEMPLATES[object.kind];
    if (at === undefined) return "skipped";
    return uninjectOne(object.document, [...object.at, ...at]) ? "uninjected" : "skipped";
  });
}

type Verdict = "injected" | "annotated" | "uninjected" | "skipped";

/** Reads everything before it prints anything: half an output is none. */
async function each(
  flags: Flags,
  terminal: Terminal,
  change: (object: FoundObject) => Verdict,
): Promise<number> {
  const output = flags.text("--output") ?? "yaml";
  if (output !== "yaml" && output !== "json") {
    throw usageError(`--output ${JSON.stringify(output)} is neither yaml nor json`);
  }
  const documents: Document[] = [];
  const report: string[] = [];
  for (const { where, text } of await readInputs(flags.operands)) {
    for (const document of parseDocuments(text, where)) {
      if (document.contents === null) continue;
      if (!isMap(document.contents)) {
        throw new CliError(`${where} has a document that is no Kubernetes object`, {
          exit: EXIT_CONFIG,
        });
      }
      documents.push(document);
      for (const object of objectsOf(document)) {
        const verdict = change(object);
        report.push(`${object.kind.toLowerCase()} "${object.name}" ${verdict}`);
      }
    }
  }
  terminal.write(
    output === "yaml"
      ? documentsText(documents)
      : documents.map((d) => JSON.stringify(d.toJS({ maxAliasCount: 100 }), null, 2) + "\n")
        .join(""),
  );
  terminal.err("");
  for (const line of report) terminal.err(line);
  terminal.err("");
  return 0;
}

function wanted(flags: Flags): Readonly<Record<string, string>> {
  const out: Record<string, string> = {
    [INJECT]: flags.has("--ingress") ? "ingress" : "enabled",
  };
  for (const [flag, kind, key] of ANNOTATIONS) {
    const value = flags.text(flag);
    if (value === null) continue;
    const error = refused(flag, kind, key, value);
    if (error !== null) throw error;
    out[`config.linkerd.io/${key}`] = value;
  }
  if (flags.has("--enable-debug-sidecar")) {
    out["config.linkerd.io/enable-debug-sidecar"] = "true";
  }
  return out;
}

async function anchors(flags: Flags): Promise<string> {
  const path = flags.text("--trust-anchors");
  if (path === null) throw usageError("--manual needs --trust-anchors FILE");
  const pem = await readText("--trust-anchors", path);
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) {
    throw new CliError(`--trust-anchors ${path} has no certificate`, { exit: EXIT_CONFIG });
  }
  return pem;
}

/** Namespaces pass the annotation on; Services have opaque ports only. */
function annotateOnly(
  { document, at, kind }: FoundObject,
  annotations: Readonly<Record<string, string>>,
): Verdict {
  const fits = Object.entries(annotations).filter(([key]) =>
    kind === "Namespace" || key === "config.linkerd.io/opaque-ports"
  );
  for (const [key, value] of fits) setAt(document, [...at, "metadata", "annotations", key], value);
  return fits.length > 0 ? "annotated" : "skipped";
}

function injectOne(
  object: FoundObject,
  below: readonly string[],
  annotations: Readonly<Record<string, string>>,
  manual: { readonly values: Values; readonly anchorsPem: string } | null,
  terminal: Terminal,
): Verdict {
  const { document, at, kind, name } = object;
  const template: NodePath = [...at, ...below];
  const what = `${kind.toLowerCase()}/${name}`;
  try {
    const pod = readPod(new Field(plain(document, template), []));
    const why = obstacles(pod);
    if (pod.annotations[INJECT] === "disabled") why.push("injection_disable_annotation_present");
    const component = pod.labels["linkerd.io/control-plane-component"] !== undefined;
    if (terminal.verbose) checks(what, why, [...pod.containers].some((c) => c.udp), terminal);
    if (why.length > 0 || (component && manual === null)) {
      const reason = component ? "the control plane needs --manual" : skipText(why);
      terminal.err(`${what}: ${reason}`);
      return "skipped";
    }
    for (const [key, value] of Object.entries(annotations)) {
      setAt(document, [...template, "metadata", "annotations", key], value);
    }
    if (manual === null) return "injected";
    const result = injectPod({
      template: new Field(plain(document, template), []),
      prefix: below,
      namespace: String(plain(document, [...at, "metadata", "namespace"]) ?? "default"),
      namespaceAnnotations: {},
      owner: kind === "Pod" ? null : { kind, name },
      values: manual.values,
      anchorsPem: manual.anchorsPem,
      anchorsSha256: createHash("sha256").update(manual.anchorsPem).digest("hex"),
      createdBy: `linkerd/cli ${VERSION}`,
    });
    for (const note of result.notes) terminal.err(`${what}: ${note}`);
    if (!result.injected) throw new Error(skipText(result.skipped));
    patchAt(document, at, result.patch);
    return "injected";
  } catch (e) {
    if (!(e instanceof FieldError)) throw e;
    throw new CliError(`failed to inject ${what}: ${errorText(e)}`, { exit: EXIT_CONFIG });
  }
}

/** The verbose form of the report. */
function checks(
  what: string,
  why: readonly (keyof typeof SKIP_TEXTS)[],
  udp: boolean,
  terminal: Terminal,
): void {
  const line = (good: boolean, text: string) =>
    terminal.err(`${good ? "√" : "‼"} ${what}: ${text}`);
  line(!why.includes("host_network_enabled"), "pods do not use host networking");
  line(
    !why.includes("sidecar_already_exists"),
    "pods do not have a 3rd party proxy or initContainer already injected",
  );
  line(
    !why.includes("injection_disable_annotation_present"),
    "pods are not annotated to disable injection",
  );
  line(why.length === 0, "at least one resource can be injected or annotated");
  line(!udp, "pod specs do not include UDP ports");
  line(
    true,
    "pods do not have automountServiceAccountToken set to false or token projection is on",
  );
}

const OURS = new Set([
  "linkerd-proxy",
  "linkerd-init",
  "linkerd-network-validator",
  "linkerd-debug",
]);
const VOLUMES = new Set([
  "linkerd-proxy-init-xtables-lock",
  "linkerd-identity-end-entity",
  "linkerd-identity-token",
  "linkerd-podinfo",
]);

function uninjectOne(document: Document, at: NodePath): boolean {
  let changed = false;
  for (
    const [list, names] of [
      ["containers", OURS],
      ["initContainers", OURS],
      ["volumes", VOLUMES],
    ] as const
  ) {
    const path = [...at, "spec", list];
    const items = plain(document, path);
    if (!Array.isArray(items)) continue;
    for (let i = items.length - 1; i >= 0; i--) {
      const name = (items[i] as { name?: unknown } | null)?.name;
      if (typeof name !== "string" || !names.has(name)) continue;
      changed = removeAt(document, [...path, i]) || changed;
    }
    const left = plain(document, path);
    if (changed && Array.isArray(left) && left.length === 0) removeAt(document, path);
  }
  for (const map of ["annotations", "labels"]) {
    const path = [...at, "metadata", map];
    const entries = plain(document, path);
    if (typeof entries !== "object" || entries === null) continue;
    for (const key of Object.keys(entries)) {
      if (!/^(config\.(alpha\.|beta\.)?)?linkerd\.io\//.test(key)) continue;
      if (map === "labels" && !/^linkerd\.io\/(control-plane-ns|workload-ns|proxy-)/.test(key)) {
        continue;
      }
      changed = removeAt(document, [...path, key]) || changed;
    }
    const left = plain(document, path);
    if (changed && typeof left === "object" && left !== null && Object.keys(left).length === 0) {
      removeAt(document, path);
    }
  }
  const metadata = [...at, "metadata"];
  const rest = plain(document, metadata);
  if (changed && typeof rest === "object" && rest !== null && Object.keys(rest).length === 0) {
    removeAt(document, metadata);
  }
  return changed;
}
