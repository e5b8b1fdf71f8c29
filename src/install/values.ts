// What an installation is made from: every value with its default. The injector's part is in
// `control/injector/values.ts`; `value-docs.ts` says what each is for. Plain data.

import {
  DEFAULT_INJECTOR_VALUES,
  IMAGE,
  type ImageValues,
  type InjectorValues,
  type ResourceValues,
  VERSION,
} from "../control/injector/values.ts";

/** Certificate and key of a webhook; empty: made when the manifests are. PEM. */
export interface WebhookTls {
  readonly crtPEM: string;
  readonly keyPEM: string;
  /** What the API server trusts; empty: `crtPEM`. */
  readonly caBundle: string;
  /** Where cert-manager takes the CA from, as namespace/name; empty: it is in `caBundle`. */
  readonly injectCaFrom: string;
  /** The Secret is somebody else's, such as cert-manager's. */
  readonly externalSecret: boolean;
}

/** All values. */
export interface Values extends InjectorValues {
  readonly controllerImage: ImageValues;
  readonly controllerReplicas: number;
  readonly controllerUID: number;
  readonly controllerGID: number;
  readonly controllerLogLevel: string;
  readonly controllerLogFormat: string;
  readonly controllerResources: {
    readonly cpu: ResourceValues;
    readonly memory: ResourceValues;
  };
  readonly highAvailability: boolean;
  readonly enablePodAntiAffinity: boolean;
  readonly enablePodDisruptionBudget: boolean;
  readonly enableTopologySpread: boolean;
  readonly priorityClassName: string;
  readonly webhookFailurePolicy: string;
  readonly identityTrustAnchorsPEM: string;
  readonly identity: {
    readonly externalCA: boolean;
    readonly issuer: {
      readonly scheme: string;
      readonly clockSkewAllowance: string;
      readonly issuanceLifetime: string;
      readonly crtPEM: string;
      readonly keyPEM: string;
    };
  };
  readonly proxyInjector: WebhookTls & { readonly timeoutSeconds: number };
  readonly profileValidator: WebhookTls;
  readonly policyValidator: WebhookTls;
  readonly policyController: { readonly probeNetworks: readonly string[] };
  readonly egress: { readonly globalEgressNetworkNamespace: string };
  readonly networkPolicy: { readonly enabled: boolean };
  readonly serviceMonitor: { readonly enabled: boolean; readonly interval: string };
  readonly cni: {
    readonly namespace: string;
    readonly destCNINetDir: string;
    readonly destCNIBinDir: string;
    readonly portsToRedirect: string;
    readonly logLevel: string;
    readonly useWaitFlag: boolean;
    readonly priorityClassName: string;
    readonly image: ImageValues;
    /** `remove` or `keep`: what a stopped installer does with the host's files. */
    readonly onExit: string;
    readonly privileged: boolean;
    readonly repairController: { readonly enabled: boolean };
  };
}

const MADE: WebhookTls = {
  crtPEM: "",
  keyPEM: "",
  caBundle: "",
  injectCaFrom: "",
  externalSecret: false,
};

/** What an installation has without any `--set`. */
export const DEFAULT_VALUES: Values = {
  ...DEFAULT_INJECTOR_VALUES,
  controllerImage: { name: IMAGE, version: VERSION, pullPolicy: "IfNotPresent" },
  controllerReplicas: 1,
  controllerUID: 2103,
  controllerGID: -1,
  controllerLogLevel: "info",
  controllerLogFormat: "plain",
  controllerResources: {
    cpu: { request: "", limit: "" },
    memory: { request: "", limit: "" },
  },
  highAvailability: false,
  enablePodAntiAffinity: false,
  enablePodDisruptionBudget: false,
  enableTopologySpread: false,
  priorityClassName: "",
  webhookFailurePolicy: "Ignore",
  identityTrustAnchorsPEM: "",
  identity: {
    externalCA: false,
    issuer: {
      scheme: "linkerd.io/tls",
      clockSkewAllowance: "20s",
      issuanceLifetime: "24h0m0s",
      crtPEM: "",
      keyPEM: "",
    },
  },
  proxyInjector: { ...MADE, timeoutSeconds: 10 },
  profileValidator: { ...MADE },
  policyValidator: { ...MADE },
  policyController: { probeNetworks: ["0.0.0.0/0", "::/0"] },
  egress: { globalEgressNetworkNamespace: "linkerd-egress" },
  networkPolicy: { enabled: false },
  serviceMonitor: { enabled: false, interval: "10s" },
  cni: {
    namespace: "linkerd-cni",
    destCNINetDir: "/etc/cni/net.d",
    destCNIBinDir: "/opt/cni/bin",
    portsToRedirect: "",
    logLevel: "info",
    useWaitFlag: false,
    priorityClassName: "",
    image: { name: `${IMAGE}-cni`, version: VERSION, pullPolicy: "IfNotPresent" },
    onExit: "remove",
    privileged: false,
    repairController: { enabled: true },
  },
};

/** What `--ha` changes; what is set besides wins over it. */
export const HA_OVERRIDES = {
  highAvailability: true,
  controllerReplicas: 3,
  enablePodAntiAffinity: true,
  enablePodDisruptionBudget: true,
  enableTopologySpread: true,
  webhookFailurePolicy: "Fail",
  controllerResources: {
    cpu: { request: "100m", limit: "" },
    memory: { request: "100Mi", limit: "500Mi" },
  },
  proxy: {
    resources: {
      cpu: { request: "100m", limit: "" },
      memory: { request: "20Mi", limit: "250Mi" },
    },
  },
} as const;
