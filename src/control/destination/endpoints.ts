// The join behind `Get`: a Service with its EndpointSlices or Pods becomes the set of addresses behind
// it, each with what is needed to reach it.

import type { Labels } from "../../core/sheet.ts";
import type { Endpoint } from "../../model/endpoint.ts";
import { workloadIdentity } from "../../model/identity.ts";
import type { Reads } from "../join.ts";
import { podKey, type PodRow } from "../kinds/pod.ts";
import { selects } from "../kinds/selector.ts";
import type { ServicePort, ServiceRow } from "../kinds/service.ts";
import type { Mesh } from "../mesh.ts";
import { isOpaqueOnPod, serverOf } from "../opaque.ts";
import { hasPort } from "../ports.ts";
import { keyOf } from "../resource.ts";
import type { ServiceTarget } from "./authority.ts";

/** What is behind a service at one moment. Labels of `endpoints` are their own only. */
export type EndpointsAnswer =
  | {
    readonly kind: "endpoints";
    readonly setLabels: Labels;
    readonly endpoints: readonly Endpoint[];
  }
  | { readonly kind: "no-service" }
  | { readonly kind: "external-name" };

export function endpointsOf(
  mesh: Mesh,
  reads: Reads,
  target: ServiceTarget,
  clientNode: string,
): EndpointsAnswer {
  reads.namespaces.add(target.namespace);
  const service = mesh.cluster.services.get(keyOf(target));
  if (service === null) return { kind: "no-service" };
  if (service.externalName !== "") return { kind: "external-name" };
  const endpoints = new Map<string, Endpoint>();
  for (const b of behind(mesh, service, target)) {
    if (!b.ready || (service.local && b.node !== clientNode)) continue;
    const endpoint = endpointAt(mesh, reads, b.ip, b.port, b.pod, b.zone);
    endpoints.set(`${b.ip}|${b.port}`, endpoint);
  }
  return {
    kind: "endpoints",
    setLabels: { namespace: service.namespace, service: service.name },
    endpoints: [...endpoints.values()],
  };
}

/** One address behind a service, ready or not. */
export interface Behind {
  readonly ip: string;
  readonly port: number;
  readonly ready: boolean;
  readonly pod: PodRow | null;
  readonly node: string;
  readonly zone: string;
}

/** All addresses of a port. EndpointSlices count where there are any, else the Service's selector. */
export function behind(mesh: Mesh, service: ServiceRow, target: ServiceTarget): readonly Behind[] {
  const { cluster } = mesh;
  const port = service.ports.find((p) => p.port === target.port) ?? null;
  const slices = [...cluster.slices.group(`service ${keyOf(service)}`)];
  if (slices.length === 0) return ofPods(mesh, service, port, target);
  return slices.flatMap((slice) => {
    // A port that the Service does not define means that port of each endpoint.
    const number = port === null
      ? target.port
      : slice.ports.find((p) => p.name === port.name)?.port ??
        (typeof port.target === "number" ? port.target : null);
    if (number === null) return [];
    return slice.endpoints
      .filter((e) => target.hostname === "" || e.hostname === target.hostname)
      .map((e): Behind => {
        const pod = cluster.pods.get(e.pod) ?? podAt(mesh, e.ip);
        return {
          ip: e.ip,
          port: number,
          ready: e.ready,
          pod,
          node: e.node === "" ? pod?.node ?? "" : e.node,
          zone: e.zone,
        };
      });
  });
}

function ofPods(
  mesh: Mesh,
  service: ServiceRow,
  port: ServicePort | null,
  target: ServiceTarget,
): readonly Behind[] {
  if (service.selector === null) return [];
  const selector = { labels: service.selector, expressions: [] };
  return [...mesh.cluster.pods.group(`namespace ${service.namespace}`)]
    .filter((pod) => selects(selector, pod.labels))
    .filter((pod) => target.hostname === "" || pod.hostname === target.hostname)
    .sort((a, b) => podKey(a) < podKey(b) ? -1 : 1)
    .flatMap((pod): Behind[] => {
      const number = port === null
        ? target.port
        : typeof port.target === "number"
        ? port.target
        : pod.ports[port.target];
      const [ip] = pod.ips;
      if (number === undefined || ip === undefined) return [];
      return [{ ip, port: number, ready: pod.ready, pod, node: pod.node, zone: "" }];
    });
}

/** The pod with an address of its own; null where several claim it. */
export function podAt(mesh: Mesh, ip: string): PodRow | null {
  const [pod, ...more] = mesh.cluster.pods.group(`ip ${ip}`);
  return more.length === 0 ? pod ?? null : null;
}

/** How to reach an address: identity, transport port and hint where its pod is meshed. */
export function endpointAt(
  mesh: Mesh,
  reads: Reads,
  ip: string,
  port: number,
  pod: PodRow | null,
  zone = "",
): Endpoint {
  const { options } = mesh;
  const plain: Endpoint = {
    addr: { ip, port },
    weight: 10_000,
    labels: pod === null ? {} : podLabels(pod, zone),
    identity: null,
    transportPort: 0,
    hint: "none",
  };
  if (pod === null) return plain;
  reads.namespaces.add(pod.namespace);
  const meshed = pod.controlPlane === options.controlNamespace && port !== options.adminPort &&
    !(pod.skipInboundPorts !== null && hasPort(pod.skipInboundPorts, port, pod.ports));
  if (!meshed) return plain;
  const name = identityOf(mesh, pod);
  const opaque = isOpaqueOnPod(mesh, reads, pod, port) ||
    serverOf(mesh, reads, pod, port)?.protocol === "opaque";
  const inbound = pod.proxyPort === 0 ? options.inboundPort : pod.proxyPort;
  const ownPort = port === inbound || options.proxyPorts.includes(port);
  return {
    ...plain,
    identity: { name, serverName: name },
    transportPort: ownPort ? 0 : inbound,
    hint: opaque ? "opaque" : options.h2Upgrade ? "h2" : "none",
  };
}

export function identityOf(mesh: Mesh, pod: PodRow): string {
  return workloadIdentity({
    serviceAccount: pod.serviceAccount,
    namespace: pod.namespace,
    controlPlaneNamespace: mesh.options.controlNamespace,
    trustDomain: mesh.options.trustDomain,
  });
}

function podLabels(pod: PodRow, zone: string): Labels {
  const labels: Record<string, string> = { pod: pod.name };
  if (pod.owner !== null) labels[pod.owner.kind] = pod.owner.name;
  labels["serviceaccount"] = pod.serviceAccount;
  if (pod.controlPlane !== "") labels["control_plane_ns"] = pod.controlPlane;
  const hash = pod.labels["pod-template-hash"];
  if (hash !== undefined) labels["pod_template_hash"] = hash;
  if (zone !== "") labels["zone"] = zone;
  labels["zone_locality"] = "unknown";
  return labels;
}
