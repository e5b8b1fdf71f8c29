// The endpoints controller's part, and what kube-dns knows: which pods stand behind which Service. Pure
// functions of the Services and of the pods that run.

import type { KubeObject, Pod, Service } from "./objects.ts";
import { namespaceOf } from "./objects.ts";

/** A pod as it runs. */
export interface PodState {
  readonly pod: Pod;
  /** IPv4, then IPv6. */
  readonly ips: readonly string[];
  readonly isReady: boolean;
}

/** Those that a Service selects. */
function behind(service: Service, pods: readonly PodState[]): readonly PodState[] {
  const wanted = Object.entries(service.spec.selector ?? {});
  return pods.filter(({ pod }) =>
    wanted.length > 0 && namespaceOf(pod) === namespaceOf(service) &&
    wanted.every(([name, value]) => pod.metadata.labels?.[name] === value)
  );
}

/** One slice for each address family of a Service. */
export function slicesOf(service: Service, pods: readonly PodState[]): readonly KubeObject[] {
  const chosen = behind(service, pods);
  const families = service.spec.clusterIPs?.some((ip) => ip.includes(":")) ? [0, 1] : [0];
  return families.map((family) => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${service.metadata.name}-ipv${family === 0 ? 4 : 6}`,
      namespace: namespaceOf(service),
      labels: { "kubernetes.io/service-name": service.metadata.name },
    },
    addressType: family === 0 ? "IPv4" : "IPv6",
    ports: service.spec.ports.map(({ name, port, targetPort }) => ({
      ...(name === undefined ? {} : { name }),
      protocol: "TCP",
      port: numberOf(targetPort ?? port, chosen),
    })),
    endpoints: chosen.map(({ pod, ips, isReady }) => ({
      addresses: [ips[family]],
      conditions: { ready: isReady, serving: isReady, terminating: false },
      targetRef: {
        kind: "Pod",
        name: pod.metadata.name,
        namespace: namespaceOf(pod),
        uid: pod.metadata.uid,
      },
      nodeName: "node-1",
    })),
  }));
}

/** A port may be a name of the pods' containers. */
function numberOf(port: number | string, pods: readonly PodState[]): number {
  if (typeof port === "number") return port;
  for (const { pod } of pods) {
    for (const container of pod.spec.containers) {
      const { ports } = container as {
        ports?: readonly { name?: string; containerPort: number }[];
      };
      const found = ports?.find(({ name }) => name === port);
      if (found !== undefined) return found.containerPort;
    }
  }
  return 1;
}

/** Addresses of `SERVICE.NAMESPACE.svc[.cluster.local]`; null: there is no such Service. */
export function lookup(
  name: string,
  services: readonly Service[],
  pods: readonly PodState[],
): readonly string[] | null {
  const found = /^([^.]+)\.([^.]+)\.svc(?:\.cluster\.local)?$/.exec(name);
  const service = services.find((s) =>
    s.metadata.name === found?.[1] && namespaceOf(s) === found?.[2]
  );
  if (service === undefined) return null;
  const { clusterIP, clusterIPs } = service.spec;
  if (clusterIP !== "None") return clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP]);
  // not only ready ones: a control plane's pod finds itself before it is
  return behind(service, pods).map(({ ips }) => ips[0] ?? "");
}
