// Kubernetes objects for the meshes of these tests, as people write them: a workload with its proxy, a
// Service over it, who may call it. Text is made at the end, so that a test can change one field.

import { stringify } from "yaml";

/** An object as in a file. */
export type KubeObject = Readonly<Record<string, unknown>>;

export const NAMESPACE = "shop";

/** A port of a workload, by the name that Servers refer to. */
export interface NamedPort {
  readonly name: string;
  readonly port: number;
  /** Bytes, not HTTP. */
  readonly opaque?: boolean;
}

const HTTP: readonly NamedPort[] = [{ name: "http", port: 8080 }];
const OPAQUE_PORTS = "config.linkerd.io/opaque-ports";

/** The documents of one file. */
export function yaml(...objects: readonly KubeObject[]): string {
  return objects.map((object) => stringify(object, { aliasDuplicateObjects: false })).join("---\n");
}

/** A pod with a proxy whose mesh port is 4143; its service account is `app`. */
export function pod(
  name: string,
  ip: string,
  app: string,
  ports: readonly NamedPort[] = HTTP,
): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: NAMESPACE,
      labels: {
        app,
        "linkerd.io/control-plane-ns": "linkerd",
        "linkerd.io/workload-ns": NAMESPACE,
        "linkerd.io/proxy-deployment": app,
      },
      ...opaqueAnnotation(ports),
    },
    spec: {
      serviceAccountName: app,
      nodeName: "test",
      containers: [
        {
          name: "app",
          image: "test",
          ports: ports.map(({ name, port }) => ({ name, containerPort: port })),
        },
        {
          name: "linkerd-proxy",
          image: "test",
          ports: [{ name: "linkerd-proxy", containerPort: 4143 }],
          env: [{ name: "LINKERD2_PROXY_INBOUND_LISTEN_ADDR", value: `${ip}:4143` }],
        },
      ],
    },
    status: {
      phase: "Running",
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  };
}

/** The same pod without a proxy. */
export function unmeshed(object: KubeObject): KubeObject {
  const { metadata, spec } = object as Record<"metadata" | "spec", Record<string, unknown>>;
  const [app] = spec["containers"] as readonly unknown[];
  return {
    ...object,
    metadata: { ...metadata, labels: {} },
    spec: { ...spec, containers: [app] },
  };
}

/** A Service and the EndpointSlice with its pods, by name and address. */
export function service(
  name: string,
  clusterIp: string,
  pods: Readonly<Record<string, string>>,
  ports: readonly NamedPort[] = HTTP,
): readonly KubeObject[] {
  return [{
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: NAMESPACE, ...opaqueAnnotation(ports) },
    spec: {
      clusterIP: clusterIp,
      clusterIPs: [clusterIp],
      ports: ports.map(({ name, port }) => ({ name, port, targetPort: port })),
    },
  }, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-1`,
      namespace: NAMESPACE,
      labels: { "kubernetes.io/service-name": name },
    },
    addressType: "IPv4",
    ports: ports.map(({ name, port }) => ({ name, port, protocol: "TCP" })),
    endpoints: Object.entries(pods).map(([pod, ip]) => ({
      addresses: [ip],
      conditions: { ready: true },
      nodeName: "test",
      targetRef: { kind: "Pod", name: pod, namespace: NAMESPACE },
    })),
  }];
}

/** A Server for one port of an app, and the service accounts that may reach it. */
export function allow(
  app: string,
  port: string,
  protocol: "HTTP/1" | "opaque",
  accounts: readonly string[],
): readonly KubeObject[] {
  const name = `${app}-${port}`;
  const meta = { name, namespace: NAMESPACE };
  return [{
    apiVersion: "policy.linkerd.io/v1beta3",
    kind: "Server",
    metadata: meta,
    spec: { podSelector: { matchLabels: { app } }, port, proxyProtocol: protocol },
  }, {
    apiVersion: "policy.linkerd.io/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata: meta,
    spec: {
      targetRef: { group: "policy.linkerd.io", kind: "Server", name },
      requiredAuthenticationRefs: [
        { group: "policy.linkerd.io", kind: "MeshTLSAuthentication", name },
      ],
    },
  }, {
    apiVersion: "policy.linkerd.io/v1alpha1",
    kind: "MeshTLSAuthentication",
    metadata: meta,
    spec: { identityRefs: accounts.map((account) => ({ kind: "ServiceAccount", name: account })) },
  }];
}

/** A ServiceProfile with one route for everything. */
export function profile(
  serviceName: string,
  budget: { retryRatio: number; minRetriesPerSecond: number; ttl: string },
  { isRetryable = true, timeout = "8s" } = {},
): KubeObject {
  return {
    apiVersion: "linkerd.io/v1alpha2",
    kind: "ServiceProfile",
    metadata: { name: `${serviceName}.${NAMESPACE}.svc.cluster.local`, namespace: NAMESPACE },
    spec: {
      routes: [{ name: "all", condition: { pathRegex: "/.*" }, isRetryable, timeout }],
      retryBudget: budget,
    },
  };
}

/** A WasmFilter for a Service. `file` is in the folder of builds. */
export function wasmFilter(name: string, of: {
  readonly service: string;
  readonly sha256: string;
  readonly file?: string;
  readonly config?: unknown;
  readonly order?: number;
  readonly failurePolicy?: "Open" | "Closed";
}): KubeObject {
  return {
    apiVersion: "tulle.dev/v1alpha1",
    kind: "WasmFilter",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      targetRef: { kind: "Service", name: of.service },
      order: of.order ?? 0,
      module: {
        sha256: of.sha256,
        ...(of.file === undefined ? {} : { file: `../../filters/build/${of.file}` }),
      },
      ...(of.config === undefined ? {} : { config: of.config }),
      failurePolicy: of.failurePolicy ?? "Closed",
    },
  };
}

function opaqueAnnotation(ports: readonly NamedPort[]) {
  const opaque = ports.filter((p) => p.opaque === true).map((p) => p.port);
  return opaque.length === 0 ? {} : { annotations: { [OPAQUE_PORTS]: opaque.join(",") } };
}
