// The table of pods that the injector's tests look at: input, namespace, values, owner.

import { Field } from "../../../src/control/field.ts";
import { type InjectInput, injectPod } from "../../../src/control/injector/inject.ts";
import {
  DEFAULT_INJECTOR_VALUES,
  type InjectorValues,
} from "../../../src/control/injector/values.ts";

/** One row: a golden file of its name has the patch. */
export interface PodCase {
  readonly name: string;
  readonly pod: Record<string, unknown>;
  readonly namespace?: Record<string, string>;
  readonly values?: InjectorValues;
  readonly owner?: { kind: string; name: string };
}

const ENABLED = { "linkerd.io/inject": "enabled" };
const DEFAULTS = DEFAULT_INJECTOR_VALUES;

/** A pod as an API server hands it to a webhook. */
export function pod(
  annotations: Record<string, string> | null,
  spec: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      generateName: "web-6d4cf56db6-",
      namespace: "shop",
      labels: { app: "web" },
      ...(annotations === null ? {} : { annotations }),
    },
    spec: {
      containers: [{
        name: "app",
        image: "shop/web:1",
        ports: [{ name: "http", containerPort: 8080 }],
        volumeMounts: [{
          name: "kube-api-access-x",
          mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
          readOnly: true,
        }],
      }],
      volumes: [{ name: "kube-api-access-x", projected: {} }],
      ...spec,
    },
  };
}

export const POD_CASES: readonly PodCase[] = [
  { name: "plain", pod: pod(ENABLED), owner: { kind: "Deployment", name: "web" } },
  { name: "by-namespace", pod: pod(null), namespace: ENABLED },
  {
    name: "bare",
    pod: { metadata: {}, spec: { containers: [{ name: "app", image: "x" }] } },
    namespace: ENABLED,
  },
  {
    name: "ordinary-containers",
    pod: pod(
      {
        ...ENABLED,
        "config.linkerd.io/proxy-enable-native-sidecar": "false",
        "config.alpha.linkerd.io/proxy-wait-before-exit-seconds": "5",
      },
      { initContainers: [{ name: "migrate", image: "shop/migrate" }] },
    ),
    owner: { kind: "Job", name: "migrate" },
  },
  {
    name: "cni-ipv6",
    pod: pod({ "linkerd.io/inject": "ingress" }),
    values: { ...DEFAULTS, cniEnabled: true, disableIPv6: false },
  },
  {
    name: "every-annotation",
    pod: pod({
      ...ENABLED,
      "config.linkerd.io/proxy-image": "registry.example/proxy",
      "config.linkerd.io/proxy-version": "v9",
      "config.linkerd.io/image-pull-policy": "Always",
      "config.linkerd.io/enable-debug-sidecar": "true",
      "config.linkerd.io/debug-image": "registry.example/debug",
      "config.linkerd.io/debug-image-version": "v8",
      "config.linkerd.io/inbound-port": "5143",
      "config.linkerd.io/outbound-port": "5140",
      "config.linkerd.io/control-port": "5190",
      "config.linkerd.io/admin-port": "5191",
      "config.linkerd.io/skip-inbound-ports": "22,8000-8010",
      "config.linkerd.io/skip-outbound-ports": "25, 465",
      "config.linkerd.io/skip-subnets": "10.1.0.0/16",
      "config.linkerd.io/opaque-ports": "http,9000-9010",
      "config.linkerd.io/proxy-cpu-request": "1500m",
      "config.linkerd.io/proxy-cpu-limit": "3",
      "config.linkerd.io/proxy-memory-request": "20Mi",
      "config.linkerd.io/proxy-memory-limit": "250Mi",
      "config.linkerd.io/proxy-ephemeral-storage-limit": "1Gi",
      "config.linkerd.io/proxy-cpu-ratio-limit": "0.5",
      "config.linkerd.io/proxy-uid": "3000",
      "config.linkerd.io/proxy-gid": "3001",
      "config.linkerd.io/proxy-admin-shutdown": "enabled",
      "config.linkerd.io/proxy-log-level": "debug",
      "config.linkerd.io/proxy-log-format": "json",
      "config.linkerd.io/proxy-log-http-headers": "insecure",
      "config.linkerd.io/access-log": "apache",
      "config.linkerd.io/enable-external-profiles": "true",
      "config.linkerd.io/proxy-require-identity-inbound-ports": "8080",
      "config.linkerd.io/proxy-metrics-hostname-labels": "true",
      "config.linkerd.io/proxy-outbound-connect-timeout": "1m5s",
      "config.linkerd.io/proxy-inbound-connect-timeout": "250ms",
      "config.linkerd.io/proxy-outbound-discovery-cache-unused-timeout": "1m",
      "config.linkerd.io/proxy-inbound-discovery-cache-unused-timeout": "30s",
      "config.linkerd.io/proxy-disable-outbound-protocol-detect-timeout": "true",
      "config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout": "true",
      "config.linkerd.io/enable-gateway": "true",
      "config.linkerd.io/proxy-await": "disabled",
      "config.linkerd.io/default-inbound-policy": "deny",
      "config.linkerd.io/shutdown-grace-period": "30s",
      "config.linkerd.io/proxy-additional-env": '[{"name":"A","value":"pod"}]',
    }),
    namespace: {
      "config.linkerd.io/proxy-log-level": "info",
      "config.linkerd.io/proxy-additional-env": '[{"name":"A","value":"ns"},{"name":"B"}]',
    },
  },
  {
    name: "root-init-privileged",
    pod: pod({ ...ENABLED, "config.linkerd.io/close-wait-timeout": "1h" }),
    values: {
      ...DEFAULTS,
      proxyInit: { ...DEFAULTS.proxyInit, runAsRoot: true, mode: "auto" },
    },
  },
  {
    name: "inherits",
    pod: pod({ ...ENABLED, "config.linkerd.io/proxy-log-level": "debug" }, {
      containers: [{
        name: "db",
        image: "postgres",
        ports: [{ containerPort: 5432 }, { containerPort: 53, protocol: "UDP" }],
        readinessProbe: { httpGet: { path: "/", port: 10001 } },
        livenessProbe: { httpGet: { path: "/", port: "http" } },
        securityContext: {
          capabilities: { add: ["NET_RAW", "CHOWN"], drop: ["ALL", "NET_ADMIN"] },
        },
      }],
    }),
    namespace: {
      "config.linkerd.io/proxy-log-level": "trace",
      "config.linkerd.io/skip-outbound-ports": "9092",
      "config.linkerd.io/enable-gateway": "true",
    },
    owner: { kind: "StatefulSet", name: "db" },
  },
  {
    name: "skipped-opaque",
    pod: pod(null, { containers: [{ name: "db", ports: [{ containerPort: 3306 }] }] }),
  },
  { name: "host-network", pod: pod(ENABLED, { hostNetwork: true }) },
];

/** What the injector is asked for a row. */
export function inputOf(
  { pod, namespace = {}, values = DEFAULTS, owner }: PodCase,
): InjectInput {
  return {
    template: new Field(pod, []),
    prefix: [],
    namespace: "shop",
    namespaceAnnotations: namespace,
    owner: owner ?? null,
    values,
    anchorsPem: "-----BEGIN CERTIFICATE-----\nanchors\n-----END CERTIFICATE-----\n",
    anchorsSha256: "ab".repeat(32),
    createdBy: "linkerd/proxy-injector test",
  };
}

export const inject = (row: PodCase) => injectPod(inputOf(row));
