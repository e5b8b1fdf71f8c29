// Pods (core/v1): who is behind an address, and whether a proxy is.

import { isIpv4, isIpv6, normalizeIp } from "../../core/addr.ts";
import { parsePorts, type PortSet } from "../ports.ts";
import { keyOf, type Resource } from "../resource.ts";
import { OPAQUE_PORTS } from "./service.ts";

export interface PodRow {
  readonly namespace: string;
  readonly name: string;
  readonly ips: readonly string[];
  readonly hostNetwork: boolean;
  readonly node: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The control-plane namespace whose mesh it belongs to, or empty. */
  readonly controlPlane: string;
  readonly opaquePorts: PortSet | null;
  readonly skipInboundPorts: PortSet | null;
  /** Which only meshed clients may use, where no Server says otherwise. */
  readonly requireIdentityPorts: PortSet | null;
  /** From the annotation; empty: it has none. */
  readonly defaultPolicy: string;
  readonly ready: boolean;
  readonly hostname: string;
  /** Where its proxy accepts direct connections; 0: not said. */
  readonly proxyPort: number;
  /** Container ports by name. */
  readonly ports: Readonly<Record<string, number>>;
  /** Paths that the kubelet asks for, by port. */
  readonly probes: ReadonlyMap<number, readonly string[]>;
  /** What controls it, as a metric label: `deployment`, `statefulset`, …; null: nothing. */
  readonly owner: { readonly kind: string; readonly name: string } | null;
}

export const DEFAULT_INBOUND_POLICY = "config.linkerd.io/default-inbound-policy";
const PROXY_LABEL = "linkerd.io/proxy-";

/** Null: its containers have ended and its address may be another's by now. */
export function podRow(r: Resource): PodRow | null {
  const spec = r.body.at("spec");
  const status = r.body.at("status");
  const phase = status.at("phase").stringOr("Running");
  if (phase === "Succeeded" || phase === "Failed") return null;
  const ipFields = [status.at("podIP"), ...status.at("podIPs").list(8).map((p) => p.at("ip"))];
  const ips = ipFields.filter((f) => !f.isAbsent && f.value !== "").map((f) => {
    const ip = f.string();
    if (!isIpv4(ip) && !isIpv6(ip)) f.fail(`is ${JSON.stringify(ip)}, not an IP address`);
    return normalizeIp(ip);
  });
  const ports: Record<string, number> = {};
  for (const list of ["containers", "initContainers"]) {
    for (const port of spec.at(list).list(256).flatMap((c) => c.at("ports").list(256))) {
      const name = port.at("name").stringOr("");
      if (name !== "") ports[name] ??= port.at("containerPort").int(1, 65535);
    }
  }
  return {
    namespace: r.namespace,
    name: r.name,
    ips: [...new Set(ips)],
    hostNetwork: spec.at("hostNetwork").boolOr(false),
    node: spec.at("nodeName").stringOr(""),
    serviceAccount: spec.at("serviceAccountName").stringOr("default"),
    labels: r.labels,
    controlPlane: r.labels["linkerd.io/control-plane-ns"] ?? "",
    opaquePorts: portsOf(r, OPAQUE_PORTS),
    skipInboundPorts: portsOf(r, "config.linkerd.io/skip-inbound-ports"),
    requireIdentityPorts: portsOf(r, "config.linkerd.io/proxy-require-identity-inbound-ports"),
    defaultPolicy: r.annotations[DEFAULT_INBOUND_POLICY] ?? "",
    ready: ips.length > 0 && phase === "Running" && isReady(r),
    hostname: spec.at("hostname").stringOr(""),
    proxyPort: proxyPortOf(r),
    ports,
    probes: probesOf(r, ports),
    owner: ownerOf(r),
  };
}

/** Of HTTP in clear text; what cannot be read is no probe, and the kubelet's own concern. */
function probesOf(
  r: Resource,
  ports: Readonly<Record<string, number>>,
): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, Set<string>>();
  const spec = r.body.at("spec");
  for (const list of ["containers", "initContainers"]) {
    for (const container of spec.at(list).list(256)) {
      for (const kind of ["livenessProbe", "readinessProbe", "startupProbe"]) {
        const get = container.at(kind).at("httpGet");
        if (get.isAbsent || get.at("scheme").stringOr("HTTP") !== "HTTP") continue;
        const { value } = get.at("port");
        const port = typeof value === "string" ? ports[value] ?? Number(value) : Number(value);
        const path = get.at("path").stringOr("/").split("?")[0] ?? "/";
        if (!Number.isInteger(port) || !path.startsWith("/")) continue;
        found.set(port, (found.get(port) ?? new Set()).add(path));
      }
    }
  }
  return new Map([...found].map(([port, paths]) => [port, [...paths].sort()]));
}

/** The groups by which pods are found. */
export function podGroups(pod: PodRow): readonly string[] {
  // On the host's network many pods share an address, which then names none of them.
  const ips = pod.hostNetwork ? [] : pod.ips.map((ip) => `ip ${ip}`);
  return [`namespace ${pod.namespace}`, ...ips];
}

export function podKey(pod: PodRow): string {
  return keyOf(pod);
}

function portsOf(r: Resource, annotation: string): PortSet | null {
  const text = r.annotations[annotation];
  return text === undefined ? null : parsePorts(text);
}

/** The port of the proxy container's inbound listener, as the reference reads it. */
function proxyPortOf(r: Resource): number {
  const spec = r.body.at("spec");
  // Newer clusters run the proxy as an init container that stays.
  const containers = [...spec.at("containers").list(256), ...spec.at("initContainers").list(256)];
  const proxy = containers.find((c) => c.at("name").stringOr("") === "linkerd-proxy");
  const variable = proxy?.at("env").list(1024).find((e) =>
    e.at("name").stringOr("") === "LINKERD2_PROXY_INBOUND_LISTEN_ADDR"
  );
  const port = /:(\d{1,5})$/.exec(variable?.at("value").stringOr("") ?? "");
  const number = Number(port?.[1] ?? 0);
  return number <= 65535 ? number : 0;
}

/** A pod without the condition is taken as ready: people who write pods by hand leave it out. */
function isReady(r: Resource): boolean {
  const conditions = r.body.at("status").at("conditions").list(256);
  const ready = conditions.find((c) => c.at("type").string() === "Ready");
  return ready === undefined || ready.at("status").string() === "True";
}

function ownerOf(r: Resource): PodRow["owner"] {
  // The injector's label names the top owner; the reference alone names a ReplicaSet.
  for (const [key, name] of Object.entries(r.labels)) {
    if (key.startsWith(PROXY_LABEL)) {
      return { kind: labelKind(key.slice(PROXY_LABEL.length)), name };
    }
  }
  const [owner] = r.body.at("metadata").at("ownerReferences").list(64);
  if (owner === undefined) return null;
  const kind = owner.at("kind").string().toLowerCase();
  const name = owner.at("name").string();
  const hash = r.labels["pod-template-hash"];
  if (kind === "replicaset" && hash !== undefined && name.endsWith(`-${hash}`)) {
    return { kind: "deployment", name: name.slice(0, -hash.length - 1) };
  }
  return { kind: labelKind(kind), name };
}

/** `job` is a label that Prometheus sets itself. */
function labelKind(kind: string): string {
  return kind === "job" ? "k8s_job" : kind;
}
