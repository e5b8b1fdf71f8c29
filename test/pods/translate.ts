// A Kubernetes pod as one that Debian's podman plays. What podman 4.3 has no word for is written out the
// way a kubelet would: fields of the downward API and `$(NAME)` in values, volumes as folders of the
// host, and init containers as containers that the suite's kubelet starts by itself, in their order.
// Nothing of a container's command, user, capabilities or environment is changed.

import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Container, EnvVar, Pod, Source, Volume } from "./objects.ts";
import { namespaceOf } from "./objects.ts";

/** Where a pod runs, and what its volumes are made of. */
export interface PodPlace {
  /** Unlike the pod's own, unique on this machine. */
  readonly podmanName: string;
  readonly ips: readonly string[];
  readonly nodeName: string;
  readonly nameserver: string;
  /** Above all volumes of this pod. */
  readonly dir: string;
  /** Variables that a kubelet adds to each container. */
  readonly serviceEnv: readonly EnvVar[];
  configMap(name: string): Readonly<Record<string, string>>;
  secret(name: string): Readonly<Record<string, Buffer>>;
  token(account: string, audience: string | undefined): Promise<string>;
}

/** The manifest for `podman play kube`, as JSON, which is YAML. */
export async function translate(pod: Pod, place: PodPlace): Promise<string> {
  const { spec, metadata } = pod;
  const containers = [...spec.initContainers ?? [], ...spec.containers];
  const volumes: unknown[] = [];
  for (const volume of spec.volumes ?? []) {
    const path = volume.hostPath?.path ?? await makeVolume(pod, volume, place);
    volumes.push({ name: volume.name, hostPath: { path, type: "Directory" } });
  }
  const domain = "svc.cluster.local";
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: place.podmanName, labels: metadata.labels },
    spec: {
      restartPolicy: "Never",
      hostname: metadata.name,
      dnsPolicy: "None",
      dnsConfig: {
        nameservers: [place.nameserver],
        searches: [`${namespaceOf(pod)}.${domain}`, domain, "cluster.local"],
        options: [{ name: "ndots", value: "5" }],
      },
      containers: containers.map((container) => translateContainer(container, pod, place)),
      volumes,
    },
  });
}

function translateContainer(container: Container, pod: Pod, place: PodPlace) {
  const { securityContext = {} } = container;
  if (securityContext.runAsNonRoot === true && securityContext.runAsUser === 0) {
    throw new Error(`${container.name} would run as root, which it must not`);
  }
  const env = environment(container, pod, place);
  const values = new Map(env.map(({ name, value }) => [name, value]));
  const words = (list: readonly string[]) => list.map((word) => expand(word, values));
  return {
    name: container.name,
    image: container.image,
    ...(container.command === undefined ? {} : { command: words(container.command) }),
    ...(container.args === undefined ? {} : { args: words(container.args) }),
    env,
    securityContext,
    volumeMounts: container.volumeMounts ?? [],
  };
}

/** With every value resolved, in the order of the manifest. */
export function environment(
  { env = [] }: Container,
  pod: Pod,
  place: PodPlace,
): readonly { readonly name: string; readonly value: string }[] {
  const values = new Map<string, string>();
  for (const { name, value = "", valueFrom } of [...place.serviceEnv, ...env]) {
    const { fieldRef, configMapKeyRef: ref } = valueFrom ?? {};
    values.set(
      name,
      fieldRef !== undefined
        ? field(fieldRef.fieldPath, pod, place)
        : ref !== undefined
        ? place.configMap(ref.name)[ref.key] ?? ""
        : expand(value, values),
    );
  }
  return [...values].map(([name, value]) => ({ name, value }));
}

/** `$(NAME)` of what was set before; `$$` is a dollar. */
function expand(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(
    /\$\$|\$\(([^)]+)\)/g,
    (whole: string, name: string | undefined) =>
      name === undefined ? "$" : values.get(name) ?? whole,
  );
}

function field(path: string, pod: Pod, { ips, nodeName }: PodPlace): string {
  switch (path) {
    case "metadata.name":
      return pod.metadata.name;
    case "metadata.namespace":
      return namespaceOf(pod);
    case "metadata.uid":
      return pod.metadata.uid ?? "";
    case "status.podIP":
      return ips[0] ?? "";
    case "status.podIPs":
      return ips.join(",");
    case "spec.nodeName":
      return nodeName;
    case "spec.serviceAccountName":
      return pod.spec.serviceAccountName ?? "default";
  }
  throw new Error(`The suite's kubelet knows no field ${path}`);
}

async function makeVolume(pod: Pod, volume: Volume, place: PodPlace): Promise<string> {
  const path = join(place.dir, volume.name);
  await mkdir(path, { recursive: true });
  // as an emptyDir, into which every user may write; the process' umask has no say
  await chmod(path, volume.emptyDir === undefined ? 0o755 : 0o777);
  const put = (name: string, data: string | Buffer) => writeFile(join(path, name), data);
  if (volume.configMap !== undefined) {
    const entries = Object.entries(place.configMap(volume.configMap.name));
    for (const [name, text] of entries) await put(name, text);
  }
  if (volume.secret !== undefined) {
    const entries = Object.entries(place.secret(volume.secret.secretName));
    for (const [name, data] of entries) await put(name, data);
  }
  for (const source of volume.projected?.sources ?? []) await project(source, pod, place, put);
  return path;
}

async function project(
  { serviceAccountToken: token, configMap, downwardAPI }: Source,
  pod: Pod,
  place: PodPlace,
  put: (name: string, data: string) => Promise<void>,
): Promise<void> {
  if (token !== undefined) {
    const account = pod.spec.serviceAccountName ?? "default";
    await put(token.path, await place.token(account, token.audience));
  }
  for (const { key, path } of configMap?.items ?? []) {
    await put(path, place.configMap(configMap?.name ?? "")[key] ?? "");
  }
  for (const { path, fieldRef } of downwardAPI?.items ?? []) {
    await put(path, field(fieldRef.fieldPath, pod, place));
  }
}
