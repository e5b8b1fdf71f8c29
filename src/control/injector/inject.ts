// A pod, its namespace's annotations and the values: what to patch. Pure, so that the webhook, the CLI
// and a dry run give the same. Nothing of it reads a clock, a file or an API.

import type { Field } from "../field.ts";
import { DEBUG_SIDECAR, inherited, OPAQUE_PORTS, parseBool, valuesFor } from "./annotations.ts";
import {
  type Copied,
  debugContainer,
  initContainer,
  type Manifest,
  PROXY_VOLUMES,
  proxyContainer,
  validatorContainer,
  XTABLES_LOCK,
} from "./containers.ts";
import { obstacles, SKIP_TEXTS, type SkipReason, unwanted } from "./decide.ts";
import { type PatchOp, pointer } from "./json-patch.ts";
import { opaqueOfPod, opaqueOfService } from "./opaque-ports.ts";
import { type PodView, readPod } from "./pod.ts";
import { type InjectorValues, VERSION } from "./values.ts";

/** Who made a pod: its Deployment, Job, … */
export interface Owner {
  readonly kind: string;
  readonly name: string;
}

/** One pod or pod template to look at. */
export interface InjectInput {
  /** The object that has `metadata` and `spec` of the pod. */
  readonly template: Field;
  /** Where that is in the object that is patched: nothing for a Pod, `spec`, `template` for others. */
  readonly prefix: readonly string[];
  readonly namespace: string;
  readonly namespaceAnnotations: Readonly<Record<string, string>>;
  readonly owner: Owner | null;
  readonly values: InjectorValues;
  /** PEM. */
  readonly anchorsPem: string;
  /** Hex; made by the caller, once for each anchor. */
  readonly anchorsSha256: string;
  /** For `linkerd.io/created-by`, such as `tulle/proxy-injector 0.1.0`. */
  readonly createdBy: string;
}

/** What to do, and why. */
export interface InjectResult {
  /** Empty: leave the object as it is. */
  readonly patch: readonly PatchOp[];
  readonly injected: boolean;
  /** Empty when it is injected. */
  readonly skipped: readonly SkipReason[];
  /** Annotations that were ignored, one line each. */
  readonly notes: readonly string[];
}

/** Decides about a pod. Raises a `FieldError` for what is no pod. */
export function injectPod(input: InjectInput): InjectResult {
  const pod = readPod(input.template);
  const why = unwanted(pod.annotations, input.namespaceAnnotations);
  const skipped = [...obstacles(pod), ...(why === null ? [] : [why])];
  const { opaquePorts } = input.values.proxy;
  if (skipped.length > 0) {
    const opaque = opaqueOfPod(pod, input.namespaceAnnotations, opaquePorts);
    return {
      patch: opaque === null
        ? []
        : annotate(input.prefix, pod.hasMetadata, pod.hasAnnotations, [[OPAQUE_PORTS, opaque]]),
      injected: false,
      skipped,
      notes: [],
    };
  }
  const notes: string[] = [];
  return { patch: sidecarPatch(input, pod, notes), injected: true, skipped: [], notes };
}

/** Gives a Service its opaque ports. Raises a `FieldError` for what is no Service. */
export function annotateService(
  service: Field,
  namespaceAnnotations: Readonly<Record<string, string>>,
  values: InjectorValues,
): readonly PatchOp[] {
  const opaque = opaqueOfService(service, namespaceAnnotations, values.proxy.opaquePorts);
  const metadata = service.at("metadata");
  return opaque === null ? [] : annotate(
    [],
    !metadata.isAbsent,
    !metadata.at("annotations").isAbsent,
    [[OPAQUE_PORTS, opaque]],
  );
}

/** The reasons in one line. */
export function skipText(reasons: readonly SkipReason[]): string {
  return reasons.map((reason) => SKIP_TEXTS[reason]).join(", ");
}

function sidecarPatch(input: InjectInput, pod: PodView, notes: string[]): PatchOp[] {
  const taken = inherited(pod.annotations, input.namespaceAnnotations);
  const annotations = { ...taken, ...pod.annotations };
  const v = valuesFor(input.values, annotations, input.namespaceAnnotations, (l) => notes.push(l));
  const opaque = taken[OPAQUE_PORTS] ??
    opaqueOfPod(pod, input.namespaceAnnotations, v.proxy.opaquePorts);
  const at = (...parts: (string | number)[]) => pointer(...input.prefix, ...parts);
  const add = (path: string, value: unknown): PatchOp => ({ op: "add", path, value });
  const copied: Copied = {
    capabilities: pod.containers[0]?.capabilities ?? null,
    tokenMount: pod.containers[0]?.tokenMount ?? null,
  };
  const native = v.proxy.nativeSidecar;
  const first = v.cniEnabled ? validatorContainer(v) : initContainer(v, copied);
  const proxy = proxyContainer(
    v,
    {
      anchorsPem: input.anchorsPem,
      inboundPorts: inboundPorts(pod),
      opaquePorts: opaque ?? pod.annotations[OPAQUE_PORTS] ?? v.proxy.opaquePorts,
      beside: null,
      anchorsFromConfigMap: false,
    },
    copied,
    { native, await: v.proxy.await },
  );
  const volumes: readonly Manifest[] = [
    ...(v.cniEnabled ? [] : [XTABLES_LOCK]),
    ...PROXY_VOLUMES,
  ];
  const debug = parseBool(annotations[DEBUG_SIDECAR] ?? "false");
  return [
    ...annotate(
      input.prefix,
      pod.hasMetadata,
      pod.hasAnnotations,
      Object.entries<string>({
        ...taken,
        "linkerd.io/created-by": input.createdBy,
        "linkerd.io/proxy-version": v.proxy.image.version,
        "linkerd.io/trust-root-sha256": input.anchorsSha256,
        ...(opaque === null ? {} : { [OPAQUE_PORTS]: opaque }),
      }).sort(([a], [b]) => a < b ? -1 : 1),
    ),
    ...(pod.hasLabels ? [] : [add(at("metadata", "labels"), {})]),
    ...podLabels(input).map(([name, value]) => add(at("metadata", "labels", name), value)),
    ...(pod.hasVolumes ? [] : [add(at("spec", "volumes"), [])]),
    ...(pod.hasInitContainers ? [] : [add(at("spec", "initContainers"), [])]),
    ...volumes.slice(0, -PROXY_VOLUMES.length).map((x) => add(at("spec", "volumes", "-"), x)),
    add(at("spec", "initContainers", native ? 0 : "-"), first),
    ...(debug === true ? [add(at("spec", "containers", "-"), debugContainer(v))] : []),
    ...PROXY_VOLUMES.map((x) => add(at("spec", "volumes", "-"), x)),
    native
      ? add(at("spec", "initContainers", 1), proxy)
      : add(at("spec", "containers", v.proxy.await ? 0 : "-"), proxy),
  ];
}

function podLabels(input: InjectInput): (readonly [string, string])[] {
  const { owner, values, namespace } = input;
  const kind = owner?.kind.toLowerCase() ?? "";
  return [
    ["linkerd.io/control-plane-ns", values.controlPlaneNamespace],
    ...(OWNER_KINDS.has(kind) && owner !== null
      ? [[`linkerd.io/proxy-${kind}`, labelValue(owner.name)] as const]
      : []),
    ["linkerd.io/workload-ns", namespace],
  ];
}

const OWNER_KINDS = new Set([
  "deployment",
  "replicaset",
  "replicationcontroller",
  "daemonset",
  "statefulset",
  "job",
  "cronjob",
]);

/** A label's value has at most 63 characters and ends in a letter or digit; a name may be longer. */
function labelValue(name: string): string {
  return name.slice(0, 63).replace(/[^A-Za-z0-9]+$/, "");
}

/** All that the pod's containers listen on, and what a kubelet probes; sorted as text, as Linkerd does. */
function inboundPorts(pod: PodView): number[] {
  const ports = [...pod.initContainers, ...pod.containers]
    .flatMap((c) => [...c.ports.map(({ port }) => port), ...c.probePorts]);
  return [...new Set(ports)].sort((a, b) => `${a}` < `${b}` ? -1 : 1);
}

function annotate(
  prefix: readonly string[],
  hasMetadata: boolean,
  hasAnnotations: boolean,
  entries: readonly (readonly [string, string])[],
): PatchOp[] {
  const at = (...parts: string[]) => pointer(...prefix, "metadata", ...parts);
  return [
    ...(hasMetadata ? [] : [{ op: "add" as const, path: at(), value: {} }]),
    ...(hasAnnotations ? [] : [{ op: "add" as const, path: at("annotations"), value: {} }]),
    ...entries.map(([key, value]) => ({ op: "add" as const, path: at("annotations", key), value })),
  ];
}

/** What the webhook signs its work with. */
export const CREATED_BY = `linkerd/proxy-injector ${VERSION}`;
