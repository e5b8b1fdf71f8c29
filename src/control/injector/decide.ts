// Whether a pod is injected, and if not, why: Linkerd's reasons with its words. Nothing is ever refused
// for such a reason; the pod starts without a proxy.

import type { PodView } from "./pod.ts";

/** On a pod or its namespace. */
export const INJECT = "linkerd.io/inject";

/** Why a pod is left as it is; the names are Linkerd's metric values. */
export const SKIP_TEXTS = {
  host_network_enabled: "hostNetwork is enabled",
  sidecar_already_exists: "pod has a sidecar injected already",
  unsupported_resource: "this resource kind is unsupported",
  injection_enable_annotation_absent:
    'neither the namespace nor the pod have the annotation "linkerd.io/inject:enabled"',
  injection_disable_annotation_present: 'pod has the annotation "linkerd.io/inject:disabled"',
  invalid_inject_annotation_at_workload:
    'invalid value for annotation "linkerd.io/inject" at workload',
  invalid_inject_annotation_at_ns: 'invalid value for annotation "linkerd.io/inject" at namespace',
} as const;

/** A key of `SKIP_TEXTS`. */
export type SkipReason = keyof typeof SKIP_TEXTS;

const SIDECAR_NAMES = new Set(["linkerd-proxy", "istio-proxy", "linkerd-init", "istio-init"]);
const SIDECAR_IMAGES = [
  "cr.l5d.io/linkerd/proxy:",
  "cr.l5d.io/linkerd/proxy-init:",
  "gcr.io/istio-release/proxyv2:",
  "gcr.io/istio-release/proxy_init:",
];

/** Reasons why a sidecar cannot be put into this pod, whatever its annotations want. */
export function obstacles(pod: PodView): SkipReason[] {
  const reasons: SkipReason[] = [];
  if (pod.hostNetwork) reasons.push("host_network_enabled");
  const sidecar = [...pod.containers, ...pod.initContainers].some(({ name, image }) =>
    SIDECAR_NAMES.has(name) || SIDECAR_IMAGES.some((prefix) => image.startsWith(prefix))
  );
  if (sidecar) reasons.push("sidecar_already_exists");
  return reasons;
}

/** The reason for which the annotations ask for no injection, or null when they ask for it. */
export function unwanted(
  pod: Readonly<Record<string, string>>,
  namespace: Readonly<Record<string, string>>,
): SkipReason | null {
  const atPod = word(pod[INJECT]);
  const atNamespace = word(namespace[INJECT]);
  if (atPod === "invalid") return "invalid_inject_annotation_at_workload";
  if (atNamespace === "invalid") return "invalid_inject_annotation_at_ns";
  if (atPod === "disabled") {
    return "injection_disable_annotation_present";
  }
  if (atPod === "on" || atNamespace === "on") return null;
  return "injection_enable_annotation_absent";
}

function word(value: string | undefined): "on" | "disabled" | "unset" | "invalid" {
  switch (value) {
    case undefined:
    case "":
      return "unset";
    case "enabled":
    case "ingress":
      return "on";
    case "disabled":
      return "disabled";
    default:
      return "invalid";
  }
}
