// Deployments and Services of the control plane, each pod with its proxy: made by the same functions
// that the injector uses.

import {
  initContainer,
  type Manifest,
  NOTHING_COPIED,
  PROXY_VOLUMES,
  proxyContainer,
  validatorContainer,
  XTABLES_LOCK,
} from "../control/injector/containers.ts";
import { type Service, SERVICES } from "./control-services.ts";
import { CREATED_BY, type InstallInput, labels, namespaced } from "./meta.ts";
import type { Values } from "./values.ts";

/** Deployments and Services, in the order in which they are needed. */
export function controlPlane(input: InstallInput): Manifest[] {
  const v = input.values;
  return SERVICES.flatMap((service) => [
    ...service.kubeServices.map(({ name, port, targetPort, headless, portName }) =>
      namespaced(v, "v1", "Service", name, service.component, {
        spec: {
          ...(headless ? { clusterIP: "None" } : {}),
          ports: [{ name: portName, port, protocol: "TCP", targetPort }],
          selector: { "linkerd.io/control-plane-component": service.component },
          type: "ClusterIP",
        },
      })
    ),
    deployment(input, service),
    ...(v.enablePodDisruptionBudget
      ? [
        namespaced(
          v,
          "policy/v1",
          "PodDisruptionBudget",
          `linkerd-${service.component}`,
          service.component,
          {
            spec: {
              maxUnavailable: 1,
              selector: {
                matchLabels: { "linkerd.io/control-plane-component": service.component },
              },
            },
          },
        ),
      ]
      : []),
  ]);
}

function deployment(input: InstallInput, service: Service): Manifest {
  const v = input.values;
  const { component } = service;
  const selector = {
    "linkerd.io/control-plane-component": component,
    "linkerd.io/control-plane-ns": v.controlPlaneNamespace,
    "linkerd.io/proxy-deployment": `linkerd-${component}`,
  };
  const native = v.proxy.nativeSidecar && service.mayBeNative;
  const proxy = proxyContainer(
    {
      ...v,
      proxy: { ...v.proxy, defaultInboundPolicy: "all-unauthenticated" },
    },
    {
      anchorsPem: "",
      inboundPorts: service.ports.map(({ port }) => port).sort((a, b) => `${a}` < `${b}` ? -1 : 1),
      opaquePorts: service.opaquePorts,
      beside: service.beside,
      anchorsFromConfigMap: true,
    },
    NOTHING_COPIED,
    { native, await: v.proxy.await && service.mayBeNative },
  );
  const first = v.cniEnabled
    ? validatorContainer(v)
    : initContainer(v, NOTHING_COPIED, v.proxyInit.kubeAPIServerPorts);
  const app = appContainer(v, service);
  return namespaced(v, "apps/v1", "Deployment", `linkerd-${component}`, component, {
    spec: {
      replicas: v.controllerReplicas,
      revisionHistoryLimit: 10,
      selector: { matchLabels: selector },
      strategy: {
        rollingUpdate: v.highAvailability
          ? { maxUnavailable: 1 }
          : { maxSurge: "25%", maxUnavailable: "25%" },
        type: "RollingUpdate",
      },
      template: {
        metadata: {
          annotations: {
            "linkerd.io/created-by": CREATED_BY,
            "linkerd.io/proxy-version": v.proxy.image.version,
            "linkerd.io/trust-root-sha256": input.anchorsSha256,
            "config.linkerd.io/default-inbound-policy": "all-unauthenticated",
            ...(service.opaquePorts === ""
              ? {}
              : { "config.linkerd.io/opaque-ports": service.opaquePorts }),
          },
          labels: {
            ...labels(v, component),
            ...selector,
            "linkerd.io/workload-ns": v.controlPlaneNamespace,
          },
        },
        spec: {
          ...(v.enablePodAntiAffinity ? { affinity: antiAffinity(component) } : {}),
          automountServiceAccountToken: false,
          containers: native ? [app] : [app, proxy],
          initContainers: native ? [first, proxy] : [first],
          nodeSelector: { "kubernetes.io/os": "linux" },
          ...(v.priorityClassName === "" ? {} : { priorityClassName: v.priorityClassName }),
          securityContext: { seccompProfile: { type: "RuntimeDefault" } },
          serviceAccountName: `linkerd-${component}`,
          ...(v.enableTopologySpread ? { topologySpreadConstraints: spread(selector) } : {}),
          volumes: [
            ...service.volumes,
            API_ACCESS,
            ...(v.cniEnabled ? [] : [XTABLES_LOCK]),
            ...PROXY_VOLUMES,
          ],
        },
      },
    },
  });
}

function appContainer(v: Values, service: Service): Manifest {
  const { cpu, memory } = v.controllerResources;
  const of = (which: "request" | "limit") => ({
    ...(cpu[which] === "" ? {} : { cpu: cpu[which] }),
    ...(memory[which] === "" ? {} : { memory: memory[which] }),
  });
  const resources = {
    ...(cpu.limit + memory.limit === "" ? {} : { limits: of("limit") }),
    ...(cpu.request + memory.request === "" ? {} : { requests: of("request") }),
  };
  const probe = (path: string) => ({ httpGet: { path, port: service.adminPort } });
  return {
    name: service.component,
    image: `${v.controllerImage.name}:${v.controllerImage.version}`,
    imagePullPolicy: v.controllerImage.pullPolicy,
    command: [service.program],
    args: service.args(v),
    ports: service.ports.map(({ name, port }) => ({ containerPort: port, name, protocol: "TCP" })),
    ...(Object.keys(resources).length === 0 ? {} : { resources }),
    livenessProbe: { ...probe("/live"), initialDelaySeconds: 10, timeoutSeconds: 1 },
    readinessProbe: { ...probe("/ready"), failureThreshold: 7, timeoutSeconds: 1 },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      readOnlyRootFilesystem: true,
      ...(v.controllerGID >= 0 ? { runAsGroup: v.controllerGID } : {}),
      runAsNonRoot: true,
      runAsUser: v.controllerUID,
      seccompProfile: { type: "RuntimeDefault" },
    },
    terminationMessagePolicy: "FallbackToLogsOnError",
    volumeMounts: [
      ...service.mounts,
      {
        mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
        name: "kube-api-access",
        readOnly: true,
      },
    ],
  };
}

/** What automounting would give, by hand: only the container that needs it has it. */
const API_ACCESS: Manifest = {
  name: "kube-api-access",
  projected: {
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
      {
        configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] },
      },
      {
        downwardAPI: {
          items: [{
            path: "namespace",
            fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" },
          }],
        },
      },
    ],
  },
};

function antiAffinity(component: string): Manifest {
  const term = (topologyKey: string) => ({
    labelSelector: {
      matchExpressions: [{
        key: "linkerd.io/control-plane-component",
        operator: "In",
        values: [component],
      }],
    },
    topologyKey,
  });
  return {
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        { podAffinityTerm: term("topology.kubernetes.io/zone"), weight: 100 },
      ],
      requiredDuringSchedulingIgnoredDuringExecution: [term("kubernetes.io/hostname")],
    },
  };
}

function spread(matchLabels: Manifest): Manifest[] {
  return [{
    labelSelector: { matchLabels },
    maxSkew: 1,
    topologyKey: "topology.kubernetes.io/zone",
    whenUnsatisfiable: "ScheduleAnyway",
  }];
}
