// The CNI plugin's DaemonSet and what belongs to it, in a namespace of its own.

import type { Manifest } from "../control/injector/containers.ts";
import { CREATED_BY } from "./meta.ts";
import type { Values } from "./values.ts";

const LABELS = { "k8s-app": "linkerd-cni", "linkerd.io/cni-resource": "true" };
const RBAC = "rbac.authorization.k8s.io/v1";
/** The user that may nothing. */
const NOBODY = 65534;
const REPAIR_PORT = 9990;

/** Everything that `install-cni` prints. */
export function cniObjects(v: Values): Manifest[] {
  const { cni } = v;
  return [
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: {
        name: cni.namespace,
        annotations: { "linkerd.io/inject": "disabled" },
        labels: {
          "config.linkerd.io/admission-webhooks": "disabled",
          "linkerd.io/cni-resource": "true",
          "pod-security.kubernetes.io/enforce": "privileged",
        },
      },
    },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: meta(v, "linkerd-cni") },
    {
      apiVersion: RBAC,
      kind: "ClusterRole",
      metadata: meta(v, "linkerd-cni", false),
      rules: rules(cni.repairController.enabled),
    },
    {
      apiVersion: RBAC,
      kind: "ClusterRoleBinding",
      metadata: meta(v, "linkerd-cni", false),
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "linkerd-cni" },
      subjects: [{ kind: "ServiceAccount", name: "linkerd-cni", namespace: cni.namespace }],
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: meta(v, "linkerd-cni-config"),
      data: {
        dest_cni_net_dir: cni.destCNINetDir,
        dest_cni_bin_dir: cni.destCNIBinDir,
        cni_network_config: JSON.stringify(networkConfig(v), null, 2) + "\n",
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { ...meta(v, "linkerd-cni"), labels: LABELS },
      spec: {
        selector: { matchLabels: { "k8s-app": "linkerd-cni" } },
        template: {
          metadata: {
            annotations: { "linkerd.io/created-by": CREATED_BY, "linkerd.io/inject": "disabled" },
            labels: LABELS,
          },
          spec: podSpec(v),
        },
        updateStrategy: { rollingUpdate: { maxUnavailable: 1 }, type: "RollingUpdate" },
      },
    },
  ];
}

function meta({ cni }: Values, name: string, namespaced = true): Manifest {
  return {
    name,
    ...(namespaced ? { namespace: cni.namespace } : {}),
    annotations: { "linkerd.io/created-by": CREATED_BY },
    labels: { "linkerd.io/cni-resource": "true" },
  };
}

/** What the plugin asks for a pod that starts, and what the repair does to one that cannot. */
function rules(repair: boolean): Manifest[] {
  return [
    { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] },
    {
      apiGroups: [""],
      resources: ["pods"],
      verbs: repair ? ["get", "list", "watch", "delete"] : ["get"],
    },
    // Where the control plane's pods reach the API server past their proxies.
    { apiGroups: [""], resources: ["services"], resourceNames: ["kubernetes"], verbs: ["get"] },
    ...(repair ? [{ apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create"] }] : []),
  ];
}

function podSpec(v: Values): Manifest {
  const { cni } = v;
  const hostPath = (path: string) => ({ path, type: "DirectoryOrCreate" });
  return {
    containers: [installer(v), ...(cni.repairController.enabled ? [repairer(v)] : [])],
    // It comes before any network of pods.
    hostNetwork: true,
    nodeSelector: { "kubernetes.io/os": "linux" },
    ...(cni.priorityClassName === "" ? {} : { priorityClassName: cni.priorityClassName }),
    securityContext: { seccompProfile: { type: "RuntimeDefault" } },
    serviceAccountName: "linkerd-cni",
    tolerations: [{ operator: "Exists" }],
    volumes: [
      { name: "cni-bin-dir", hostPath: hostPath(cni.destCNIBinDir) },
      { name: "cni-net-dir", hostPath: hostPath(cni.destCNINetDir) },
    ],
  };
}

function networkConfig(v: Values): Manifest {
  const { cni, proxy, proxyInit } = v;
  const list = (text: string) => text.split(",").map((part) => part.trim()).filter((p) => p !== "");
  return {
    name: "linkerd-cni",
    type: "linkerd-cni",
    log_level: cni.logLevel,
    kubernetes: { kubeconfig: "__KUBECONFIG_FILEPATH__" },
    linkerd: {
      "incoming-proxy-port": proxy.ports.inbound,
      "outgoing-proxy-port": proxy.ports.outbound,
      "proxy-uid": proxy.uid,
      ...(proxy.gid >= 0 ? { "proxy-gid": proxy.gid } : {}),
      "ports-to-redirect": list(cni.portsToRedirect).map(Number),
      "inbound-ports-to-ignore": [
        `${proxy.ports.admin}`,
        `${proxy.ports.control}`,
        ...list(proxyInit.ignoreInboundPorts),
      ],
      "outbound-ports-to-ignore": list(proxyInit.ignoreOutboundPorts),
      "subnets-to-ignore": list(proxyInit.skipSubnets),
      simulate: false,
      "use-wait-flag": cni.useWaitFlag,
      "iptables-mode": proxyInit.mode,
      ipv6: !v.disableIPv6,
    },
  };
}

function container(v: Values, name: string, program: string): Manifest {
  const { image } = v.cni;
  return {
    name,
    image: `${image.name}:${image.version}`,
    imagePullPolicy: image.pullPolicy,
    command: [`/usr/lib/linkerd/${program}`],
    terminationMessagePolicy: "FallbackToLogsOnError",
  };
}

function installer(v: Values): Manifest {
  const fromConfig = (name: string, key: string) => ({
    name,
    valueFrom: { configMapKeyRef: { name: "linkerd-cni-config", key } },
  });
  const { privileged, onExit, destCNIBinDir, destCNINetDir } = v.cni;
  return {
    ...container(v, "install-cni", "linkerd2-cni-install"),
    env: [
      fromConfig("DEST_CNI_NET_DIR", "dest_cni_net_dir"),
      fromConfig("DEST_CNI_BIN_DIR", "dest_cni_bin_dir"),
      fromConfig("CNI_NETWORK_CONFIG", "cni_network_config"),
      { name: "TULLE_CNI_ON_EXIT", value: onExit },
    ],
    // The host's folders are root's; nothing else of root's rights is needed.
    securityContext: {
      ...(privileged ? {} : { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } }),
      privileged,
      readOnlyRootFilesystem: true,
      runAsGroup: 0,
      runAsNonRoot: false,
      runAsUser: 0,
    },
    volumeMounts: [
      { mountPath: `/host${destCNIBinDir}`, name: "cni-bin-dir" },
      { mountPath: `/host${destCNINetDir}`, name: "cni-net-dir" },
    ],
  };
}

function repairer(v: Values): Manifest {
  const field = (name: string, fieldPath: string) => ({
    name,
    valueFrom: { fieldRef: { fieldPath } },
  });
  const probe = (path: string) => ({ httpGet: { path, port: REPAIR_PORT } });
  return {
    ...container(v, "repair-controller", "linkerd-cni-repair-controller"),
    args: ["--log-level", v.cni.logLevel],
    env: [
      field("LINKERD_CNI_REPAIR_CONTROLLER_NODE_NAME", "spec.nodeName"),
      field("LINKERD_CNI_REPAIR_CONTROLLER_POD_NAME", "metadata.name"),
    ],
    livenessProbe: probe("/live"),
    ports: [{ containerPort: REPAIR_PORT, name: "repair-admin" }],
    readinessProbe: { ...probe("/ready"), failureThreshold: 7 },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      readOnlyRootFilesystem: true,
      runAsGroup: NOBODY,
      runAsNonRoot: true,
      runAsUser: NOBODY,
    },
  };
}
