// What the injector is configured with: the part of the installation's values that decides what a pod
// becomes. Plain data; `src/install` has the whole set with the texts that explain each.

/** How much of something a container asks for and may use; empty: not said. */
export interface ResourceValues {
  readonly request: string;
  readonly limit: string;
}

/** An image by name and tag. */
export interface ImageValues {
  readonly name: string;
  readonly version: string;
  readonly pullPolicy: string;
}

/** A variable of the proxy's environment, as in a container. */
export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: unknown;
}

/** How the init container writes its rules: `auto` is ours and probes. */
export const INIT_MODES = ["nft", "legacy", "plain", "auto"] as const;
export type InitMode = (typeof INIT_MODES)[number];

/** The `linkerd-proxy` container. */
export interface ProxyValues {
  readonly image: ImageValues;
  readonly ports: {
    readonly inbound: number;
    readonly outbound: number;
    readonly control: number;
    readonly admin: number;
  };
  readonly uid: number;
  /** -1: the image's. */
  readonly gid: number;
  readonly logLevel: string;
  readonly logFormat: string;
  /** `insecure` lets header values into the log. */
  readonly logHTTPHeaders: string;
  /** Empty, `apache` or `json`. */
  readonly accessLog: string;
  readonly resources: {
    readonly cpu: ResourceValues;
    readonly memory: ResourceValues;
    readonly ephemeralStorage: ResourceValues;
  };
  readonly workers: {
    readonly minimum: number;
    /** 0: not said. */
    readonly maximum: number;
    /** Share of the node's CPUs; 0: not said. */
    readonly maximumCPURatio: number;
  };
  readonly nativeSidecar: boolean;
  readonly await: boolean;
  readonly enableShutdownEndpoint: boolean;
  readonly enableExternalProfiles: boolean;
  readonly defaultInboundPolicy: string;
  readonly opaquePorts: string;
  readonly requireIdentityOnInboundPorts: string;
  readonly inboundConnectTimeout: string;
  readonly outboundConnectTimeout: string;
  readonly inboundDiscoveryCacheUnusedTimeout: string;
  readonly outboundDiscoveryCacheUnusedTimeout: string;
  readonly disableInboundProtocolDetectTimeout: boolean;
  readonly disableOutboundProtocolDetectTimeout: boolean;
  readonly controlStreams: {
    readonly initialTimeout: string;
    readonly idleTimeout: string;
    readonly lifetime: string;
  };
  readonly waitBeforeExitSeconds: number;
  /** Empty: the proxy's own. */
  readonly shutdownGracePeriod: string;
  readonly metricsHostnameLabels: boolean;
  readonly isGateway: boolean;
  readonly isIngress: boolean;
  readonly additionalEnv: readonly EnvVar[];
}

/** The `linkerd-init` container. */
export interface ProxyInitValues {
  readonly mode: InitMode;
  readonly ignoreInboundPorts: string;
  readonly ignoreOutboundPorts: string;
  /** Of the API server: the control plane reaches it past its own proxies. */
  readonly kubeAPIServerPorts: string;
  readonly skipSubnets: string;
  readonly logLevel: string;
  readonly logFormat: string;
  readonly runAsUser: number;
  readonly runAsGroup: number;
  readonly runAsRoot: boolean;
  readonly privileged: boolean;
  readonly closeWaitTimeoutSecs: number;
}

/** The `linkerd-network-validator` container, which stands in for the init container with CNI. */
export interface NetworkValidatorValues {
  readonly logLevel: string;
  readonly logFormat: string;
  readonly timeout: string;
  /** Empty: what fits the address families. */
  readonly connectAddr: string;
  readonly listenAddr: string;
}

/** Everything that decides what a pod becomes. */
export interface InjectorValues {
  readonly controlPlaneNamespace: string;
  readonly clusterDomain: string;
  readonly identityTrustDomain: string;
  readonly clusterNetworks: string;
  readonly cniEnabled: boolean;
  readonly disableIPv6: boolean;
  readonly imagePullSecrets: readonly string[];
  readonly proxy: ProxyValues;
  readonly proxyInit: ProxyInitValues;
  readonly networkValidator: NetworkValidatorValues;
  readonly debugContainer: { readonly image: ImageValues };
}

/** The version of Tulle that these values are of; `tools/` and a test hold it to package.json. */
export const VERSION = "0.1.0";

/** The image of proxy, init and control plane. */
export const IMAGE = "tulle/tulle";

/** What an installation has without any `--set`. */
export const DEFAULT_INJECTOR_VALUES: InjectorValues = {
  controlPlaneNamespace: "linkerd",
  clusterDomain: "cluster.local",
  identityTrustDomain: "cluster.local",
  clusterNetworks: "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8",
  cniEnabled: false,
  disableIPv6: true,
  imagePullSecrets: [],
  proxy: {
    image: { name: IMAGE, version: VERSION, pullPolicy: "IfNotPresent" },
    ports: { inbound: 4143, outbound: 4140, control: 4190, admin: 4191 },
    uid: 2102,
    gid: -1,
    logLevel: "warn,linkerd=info,hickory=error",
    logFormat: "plain",
    logHTTPHeaders: "off",
    accessLog: "",
    resources: {
      cpu: { request: "", limit: "" },
      memory: { request: "", limit: "" },
      ephemeralStorage: { request: "", limit: "" },
    },
    workers: { minimum: 1, maximum: 0, maximumCPURatio: 0 },
    nativeSidecar: true,
    await: true,
    enableShutdownEndpoint: false,
    enableExternalProfiles: false,
    defaultInboundPolicy: "all-unauthenticated",
    opaquePorts: "25,587,3306,4444,5432,6379,9300,11211",
    requireIdentityOnInboundPorts: "",
    inboundConnectTimeout: "100ms",
    outboundConnectTimeout: "1000ms",
    inboundDiscoveryCacheUnusedTimeout: "90s",
    outboundDiscoveryCacheUnusedTimeout: "5s",
    disableInboundProtocolDetectTimeout: false,
    disableOutboundProtocolDetectTimeout: false,
    controlStreams: { initialTimeout: "3s", idleTimeout: "5m", lifetime: "1h" },
    waitBeforeExitSeconds: 0,
    shutdownGracePeriod: "",
    metricsHostnameLabels: false,
    isGateway: false,
    isIngress: false,
    additionalEnv: [],
  },
  proxyInit: {
    mode: "nft",
    ignoreInboundPorts: "4567,4568",
    ignoreOutboundPorts: "4567,4568",
    kubeAPIServerPorts: "443,6443",
    skipSubnets: "",
    logLevel: "info",
    logFormat: "plain",
    runAsUser: 65534,
    runAsGroup: 65534,
    runAsRoot: false,
    privileged: false,
    closeWaitTimeoutSecs: 0,
  },
  networkValidator: {
    logLevel: "debug",
    logFormat: "plain",
    timeout: "10s",
    connectAddr: "",
    listenAddr: "",
  },
  debugContainer: {
    image: { name: "cr.l5d.io/linkerd/debug", version: "edge-26.8.3", pullPolicy: "IfNotPresent" },
  },
};
