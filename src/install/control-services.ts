// The services of the control plane as data: ports, names, arguments, what they mount.

import type { Manifest } from "../control/injector/containers.ts";
import { webhookSecret } from "./config.ts";
import type { Values } from "./values.ts";

/** One Deployment and its Services. */
export interface Service {
  readonly component: "identity" | "destination" | "proxy-injector";
  readonly program: string;
  readonly args: (v: Values) => readonly string[];
  readonly adminPort: number;
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly opaquePorts: string;
  /** What its proxy reaches on loopback. */
  readonly beside: "destination" | "identity" | null;
  /** Whether its proxy may start before it: not where the proxy needs it to become ready. */
  readonly mayBeNative: boolean;
  readonly volumes: readonly Manifest[];
  readonly mounts: readonly Manifest[];
  readonly kubeServices: readonly {
    readonly name: string;
    readonly port: number;
    readonly targetPort: number | string;
    readonly headless: boolean;
    readonly portName: string;
  }[];
}

const CONTROL = "/usr/lib/linkerd/tulle-control";

const ANCHORS: Manifest = {
  name: "trust-roots",
  configMap: { name: "linkerd-identity-trust-roots" },
};
const ANCHORS_MOUNT: Manifest = {
  mountPath: "/var/run/linkerd/identity/trust-roots",
  name: "trust-roots",
  readOnly: true,
};
/** The certificate of a webhook. */
const tlsVolume = (name: string, service: string): Manifest => ({
  name,
  secret: { secretName: webhookSecret(service) },
});
const tlsMount = (name: string): Manifest => ({
  mountPath: `/var/run/linkerd/${name}`,
  name,
  readOnly: true,
});
const STATE: Manifest = { name: "state", emptyDir: { medium: "Memory" } };
const STATE_MOUNT: Manifest = { mountPath: "/var/run/linkerd/state", name: "state" };

function common(v: Values): string[] {
  return [
    "--source=kubernetes",
    // Below the mount: an emptyDir may be written to by everybody, and such a folder is refused.
    "--state=/var/run/linkerd/state/own",
    "--allow-remote",
    `--control-namespace=${v.controlPlaneNamespace}`,
    `--cluster-domain=${v.clusterDomain}`,
    `--trust-domain=${v.identityTrustDomain}`,
    `--log-level=${v.controllerLogLevel}`,
  ];
}

/** In the order in which they are needed. */
export const SERVICES: readonly Service[] = [
  {
    component: "identity",
    program: CONTROL,
    args: (v) => [
      "--serve=identity",
      ...common(v),
      "--identity-listen=0.0.0.0:8080",
      "--admin-listen=0.0.0.0:9990",
    ],
    adminPort: 9990,
    ports: [{ name: "ident-grpc", port: 8080 }, { name: "ident-admin", port: 9990 }],
    opaquePorts: "",
    beside: "identity",
    mayBeNative: false,
    volumes: [
      { name: "identity-issuer", secret: { secretName: "linkerd-identity-issuer" } },
      ANCHORS,
      STATE,
    ],
    mounts: [
      {
        mountPath: "/var/run/linkerd/identity/issuer",
        name: "identity-issuer",
        readOnly: true,
      },
      ANCHORS_MOUNT,
      STATE_MOUNT,
    ],
    kubeServices: ["linkerd-identity", "linkerd-identity-headless"].map((name) => ({
      name,
      port: 8080,
      targetPort: 8080,
      headless: name.endsWith("headless"),
      portName: "grpc",
    })),
  },
  {
    component: "destination",
    program: CONTROL,
    args: (v) => [
      "--serve=destination,policy",
      ...common(v),
      "--destination-listen=0.0.0.0:8086",
      "--policy-listen=0.0.0.0:8090",
      "--admin-listen=0.0.0.0:9996",
      "--sp-validator-listen=0.0.0.0:8443",
      "--sp-validator-tls=/var/run/linkerd/sp-tls",
      "--policy-validator-listen=0.0.0.0:9443",
      "--policy-validator-tls=/var/run/linkerd/policy-tls",
      `--cluster-networks=${v.clusterNetworks}`,
      `--probe-networks=${v.policyController.probeNetworks.join(",") || "none"}`,
      `--global-egress-network-namespace=${v.egress.globalEgressNetworkNamespace}`,
      `--default-inbound-policy=${v.proxy.defaultInboundPolicy}`,
    ],
    adminPort: 9996,
    ports: [
      { name: "dest-grpc", port: 8086 },
      { name: "policy-grpc", port: 8090 },
      { name: "sp-validator", port: 8443 },
      { name: "policy-https", port: 9443 },
      { name: "dest-admin", port: 9996 },
    ],
    // the API server speaks TLS that is not the mesh's
    opaquePorts: "8443,9443",
    beside: "destination",
    mayBeNative: true,
    volumes: [
      tlsVolume("sp-tls", "linkerd-sp-validator"),
      tlsVolume("policy-tls", "linkerd-policy-validator"),
      STATE,
    ],
    mounts: [tlsMount("sp-tls"), tlsMount("policy-tls"), STATE_MOUNT],
    kubeServices: [
      ...["linkerd-dst", "linkerd-dst-headless"].map((name) => ({
        name,
        port: 8086,
        targetPort: 8086,
        headless: name.endsWith("headless"),
        portName: "grpc",
      })),
      {
        name: "linkerd-policy",
        port: 8090,
        targetPort: 8090,
        headless: true,
        portName: "grpc",
      },
      ...[["linkerd-sp-validator", "sp-validator"], ["linkerd-policy-validator", "policy-https"]]
        .map(([name = "", port = ""]) => ({
          name,
          port: 443,
          targetPort: port,
          headless: false,
          portName: port,
        })),
    ],
  },
  {
    component: "proxy-injector",
    program: "/usr/lib/linkerd/tulle-injector",
    args: (v) => [
      "--listen=0.0.0.0:8443",
      "--admin-listen=0.0.0.0:9995",
      "--values=/var/run/linkerd/config/values",
      "--anchors=/var/run/linkerd/identity/trust-roots/ca-bundle.crt",
      "--tls=/var/run/linkerd/tls",
      `--log-level=${v.controllerLogLevel}`,
      `--log-format=${v.controllerLogFormat}`,
    ],
    adminPort: 9995,
    ports: [{ name: "proxy-injector", port: 8443 }, { name: "injector-admin", port: 9995 }],
    opaquePorts: "8443",
    beside: null,
    mayBeNative: true,
    volumes: [
      { name: "config", configMap: { name: "linkerd-config" } },
      ANCHORS,
      tlsVolume("tls", "linkerd-proxy-injector"),
    ],
    mounts: [
      { mountPath: "/var/run/linkerd/config", name: "config", readOnly: true },
      ANCHORS_MOUNT,
      tlsMount("tls"),
    ],
    kubeServices: [{
      name: "linkerd-proxy-injector",
      port: 443,
      targetPort: "proxy-injector",
      headless: false,
      portName: "proxy-injector",
    }],
  },
];
