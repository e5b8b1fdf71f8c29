// The CNI plugin's DaemonSet and what belongs to it, in a namespace of its own.

import type { Manifest } from "../control/injector/containers.ts";
import { CREATED_BY } from "./meta.ts";
import type { Values } from "./values.ts";

const LABELS = { "k8s-app": "linkerd-cni", "linkerd.io/cni-resource": "true" };

/** Everything that `install-cni` prints. */
export function cniObjects(v: Values): Manifest[] {
  const { cni } = v;
  const meta = (name: string, namespaced = true) => ({
    name,
    ...(namespaced ? { namespace: cni.namespace } : {}),
    annotations: { "linkerd.io/created-by": CREATED_BY },
    labels: { "linkerd.io/cni-resource": "true" },
  });
  const RBAC = "rbac.authorization.k8s.io/v1";
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
    { apiVersion: "v1", kind: "ServiceAccount", metadata: meta("linkerd-cni") },
    {
      apiVersion: RBAC,
      kind: "ClusterRole",
      metadata: meta("linkerd-cni", false),
      rules: [{
        apiGroups: [""],
        resources: ["namespaces", "pods", "services"],
        verbs: ["get"],
      }],
    },
    {
      apiVersion: RBAC,
      kind: "ClusterRoleBinding",
      metadata: meta("linkerd-cni", false),
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "linkerd-cni" },
      subjects: [{ kind: "ServiceAccount", name: "linkerd-cni", namespace: cni.namespace }],
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: meta("linkerd-cni-config"),
      data: {
        dest_cni_net_dir: cni.destCNINetDir,
        dest_cni_bin_dir: cni.destCNIBinDir,
        cni_network_config: JSON.stringify(networkConfig(v), null, 2) + "\n",
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { ...meta("linkerd-cni"), labels: LABELS },
      spec: {
        selector: { matchLabels: { "k8s-app": "linkerd-cni" } },
        template: {
          metadata: {
            annotations: { "linkerd.io/created-by": CREATED_BY, "linkerd.io/inject": "disabled" },
            labels: LABELS,
          },
          spec: {
            containers: [installer(v)],
            hostNetwork: true,
            nodeSelector: { "kubernetes.io/os": "linux" },
            ...(cni.priorityClassName === "" ? {} : { priorityClassName: cni.priorityClassName }),
            securityContext: { seccompProfile: { type: "RuntimeDefault" } },
            serviceAccountName: "linkerd-cni",
            tolerations: [{ operator: "Exists" }],
            volumes: [
              { name: "cni-bin-dir", hostPath: { path: cni.destCNIBinDir } },
              { name: "cni-net-dir", hostPath: { path: cni.destCNINetDir } },
            ],
          },
        },
        updateStrategy: { rollingUpdate: { maxUnavailable: 1 }, type: "RollingUpdate" },
      },
    },
  ];
}

function networkConfig(v: Values): Manifest {
  const { cni, proxy, proxyInit } = v;
  const list = (text: string) => text.split(",").map((part) => part.trim()).filter((p) => p !== "");
  return {
    name: "linkerd-cni",
    type: "linkerd-cni",
    log_level: cni.logLevel,
    policy: {
      type: "k8s",
      k8s_api_root: "https://__KUBERNETES_SERVICE_HOST__:__KUBERNETES_SERVICE_PORT__",
      k8s_auth_token: "__SERVICEACCOUNT_TOKEN__",
    },
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

function installer(v: Values): Manifest {
  const fromConfig = (name: string, key: string) => ({
    name,
    valueFrom: { configMapKeyRef: { name: "linkerd-cni-config", key } },
  });
  return {
    name: "install-cni",
    image: `${v.proxy.image.name}:${v.proxy.image.version}`,
    imagePullPolicy: v.proxy.image.pullPolicy,
    command: ["/usr/lib/linkerd/linkerd2-cni-install"],
    env: [
      fromConfig("DEST_CNI_NET_DIR", "dest_cni_net_dir"),
      fromConfig("DEST_CNI_BIN_DIR", "dest_cni_bin_dir"),
      fromConfig("CNI_NETWORK_CONFIG", "cni_network_config"),
    ],
    securityContext: { privileged: false, readOnlyRootFilesystem: true },
    terminationMessagePolicy: "FallbackToLogsOnError",
    volumeMounts: [
      { mountPath: `/host${v.cni.destCNIBinDir}`, name: "cni-bin-dir" },
      { mountPath: `/host${v.cni.destCNINetDir}`, name: "cni-net-dir" },
    ],
  };
}
