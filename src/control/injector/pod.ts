// The part of a pod that the injector looks at, read once and bounded. Everything else of the pod stays
// unread and untouched.

import type { Field } from "../field.ts";

/** A container as the injector sees it. */
export interface ContainerView {
  readonly name: string;
  readonly image: string;
  /** TCP ports that it declares. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  /** Whether it declares one that is not TCP. */
  readonly udp: boolean;
  /** Numeric ports of HTTP readiness and liveness probes. */
  readonly probePorts: readonly number[];
  /** Where the service account's token is mounted, as the object says it; null: nowhere. */
  readonly tokenMount: unknown;
  /** Capabilities that it sets, as the object says them; null: none. */
  readonly capabilities: CapabilitiesView | null;
}

/** Of a security context. */
export interface CapabilitiesView {
  readonly add: readonly string[];
  readonly drop: readonly string[];
}

/** A pod or pod template. */
export interface PodView {
  readonly hasMetadata: boolean;
  readonly hasAnnotations: boolean;
  readonly hasLabels: boolean;
  readonly hasVolumes: boolean;
  readonly hasInitContainers: boolean;
  readonly hasContainers: boolean;
  readonly annotations: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly hostNetwork: boolean;
  readonly automountToken: boolean;
  readonly containers: readonly ContainerView[];
  readonly initContainers: readonly ContainerView[];
  readonly volumes: readonly string[];
}

const MAX_CONTAINERS = 256;
const TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Reads `metadata` and `spec` below `template`. Raises a `FieldError` for what is no pod. */
export function readPod(template: Field): PodView {
  const metadata = template.at("metadata");
  const spec = template.at("spec");
  if (spec.isAbsent) spec.fail("is missing");
  return {
    hasMetadata: !metadata.isAbsent,
    hasAnnotations: !metadata.at("annotations").isAbsent,
    hasLabels: !metadata.at("labels").isAbsent,
    hasVolumes: !spec.at("volumes").isAbsent,
    hasInitContainers: !spec.at("initContainers").isAbsent,
    hasContainers: spec.at("containers").list(MAX_CONTAINERS).length > 0,
    annotations: metadata.at("annotations").strings(),
    labels: metadata.at("labels").strings(),
    hostNetwork: spec.at("hostNetwork").boolOr(false),
    automountToken: spec.at("automountServiceAccountToken").boolOr(true),
    containers: spec.at("containers").list(MAX_CONTAINERS).map(readContainer),
    initContainers: spec.at("initContainers").list(MAX_CONTAINERS).map(readContainer),
    volumes: spec.at("volumes").list(1024).map((v) => v.at("name").string()),
  };
}

function readContainer(container: Field): ContainerView {
  const ports = container.at("ports").list(1024).map((port) => ({
    name: port.at("name").stringOr(""),
    port: port.at("containerPort").int(1, 65535),
    tcp: port.at("protocol").stringOr("TCP") === "TCP",
  }));
  const capabilities = container.at("securityContext").at("capabilities");
  const names = (list: Field) => list.list(128).map((name) => name.string());
  return {
    name: container.at("name").string(),
    image: container.at("image").stringOr(""),
    ports: ports.filter(({ tcp }) => tcp).map(({ name, port }) => ({ name, port })),
    udp: ports.some(({ tcp }) => !tcp),
    probePorts: ["readinessProbe", "livenessProbe"].flatMap((probe) => {
      const port = container.at(probe).at("httpGet").at("port");
      return typeof port.value === "number" ? [port.int(1, 65535)] : [];
    }),
    tokenMount: container.at("volumeMounts").list(1024)
      .find((mount) => mount.at("mountPath").stringOr("") === TOKEN_PATH)?.value ?? null,
    capabilities: capabilities.isAbsent
      ? null
      : { add: names(capabilities.at("add")), drop: names(capabilities.at("drop")) },
  };
}
