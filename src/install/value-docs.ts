// A sentence for each value, and what it may be where that is a short list: read by the chart's
// values.yaml and values.schema.json, and by the check of `--set`. A test holds the keys to
// `DEFAULT_VALUES`.

import { INIT_MODES } from "../control/injector/values.ts";

/** About one value, or about a group of them. */
export interface ValueDoc {
  readonly doc: string;
  readonly oneOf?: readonly string[];
}

const POLICIES = [
  "all-unauthenticated",
  "all-authenticated",
  "cluster-unauthenticated",
  "cluster-authenticated",
  "deny",
  "audit",
];
const PULL = ["Always", "IfNotPresent", "Never"];

function doc(text: string, oneOf?: readonly string[]): ValueDoc {
  return oneOf === undefined ? { doc: text } : { doc: text, oneOf };
}

/** By path. A path that stands for a group covers what is below it and has no line of its own. */
export const VALUE_DOCS: Readonly<Record<string, ValueDoc>> = {
  "controlPlaneNamespace": doc("Namespace of the control plane; part of every identity"),
  "clusterDomain": doc("DNS domain of the cluster"),
  "identityTrustDomain": doc("Trust domain of identities; the cluster's domain unless set"),
  "clusterNetworks": doc("Networks in which pods, Services and nodes have their addresses"),
  "cniEnabled": doc("The CNI plugin writes the rules: pods get a validator and no init container"),
  "disableIPv6": doc("No IPv6 rules and listeners"),
  "imagePullSecrets": doc("Names of Secrets to pull images with"),
  "proxy.image.name": doc("Image of proxy and init container"),
  "proxy.image.version": doc("Its tag"),
  "proxy.image.pullPolicy": doc("When it is pulled", PULL),
  "proxy.ports": doc("Ports of the proxy: inbound, outbound, control (tap), admin"),
  "proxy.uid": doc("User of the proxy; its traffic is not redirected"),
  "proxy.gid": doc("Group of the proxy; -1: the image's"),
  "proxy.logLevel": doc("Log filter of the proxy"),
  "proxy.logFormat": doc("Format of its log", ["plain", "json"]),
  "proxy.logHTTPHeaders": doc("insecure lets header values into the log", ["off", "insecure"]),
  "proxy.accessLog": doc("Access log of the proxy", ["", "apache", "json"]),
  "proxy.resources": doc("Requests and limits of proxy, init container and validator"),
  "proxy.workers.minimum": doc("Threads that serve, at least"),
  "proxy.workers.maximum": doc("Threads that serve, at most; 0: not said"),
  "proxy.workers.maximumCPURatio": doc("At most this share of the node's CPUs; 0: not said"),
  "proxy.nativeSidecar": doc("The proxy is a restartable init container (Kubernetes 1.29)"),
  "proxy.await": doc("The application starts when the proxy is ready"),
  "proxy.enableShutdownEndpoint": doc("POST /shutdown on the admin port ends the proxy"),
  "proxy.enableExternalProfiles": doc("Names outside of the cluster may have ServiceProfiles"),
  "proxy.defaultInboundPolicy": doc("Policy of ports that no Server selects", POLICIES),
  "proxy.opaquePorts": doc("Ports that are opaque unless an annotation says otherwise"),
  "proxy.requireIdentityOnInboundPorts": doc("Ports that only meshed clients may use"),
  "proxy.inboundConnectTimeout": doc("To connect to the application"),
  "proxy.outboundConnectTimeout": doc("To connect to an endpoint"),
  "proxy.inboundDiscoveryCacheUnusedTimeout": doc("After which the policy of a port is forgotten"),
  "proxy.outboundDiscoveryCacheUnusedTimeout": doc("After which an unused target is forgotten"),
  "proxy.disableInboundProtocolDetectTimeout": doc("Wait for ever for a client's first bytes"),
  "proxy.disableOutboundProtocolDetectTimeout": doc(
    "Wait for ever for an application's first bytes",
  ),
  "proxy.controlStreams.initialTimeout": doc("For the first message of a control-plane stream"),
  "proxy.controlStreams.idleTimeout": doc("Between messages of such a stream"),
  "proxy.controlStreams.lifetime": doc("After which such a stream is opened anew"),
  "proxy.waitBeforeExitSeconds": doc("Sleep before the proxy ends; not for native sidecars"),
  "proxy.shutdownGracePeriod": doc("To end open connections; empty: the proxy's own"),
  "proxy.metricsHostnameLabels": doc("Metrics carry host names"),
  "proxy.isGateway": doc("The proxy is a gateway's; by annotation of a pod"),
  "proxy.isIngress": doc("The proxy is an ingress'; by annotation of a pod"),
  "proxy.additionalEnv": doc("More variables of the proxy's environment"),
  "proxyInit.mode": doc(
    "How rules are written; proxyInit.iptablesMode is the same value",
    INIT_MODES,
  ),
  "proxyInit.ignoreInboundPorts": doc("Arriving ports that pass by the proxy"),
  "proxyInit.ignoreOutboundPorts": doc("Ports that pass by the proxy on their way out"),
  "proxyInit.kubeAPIServerPorts": doc("Ports of the API server, for the control plane's own pods"),
  "proxyInit.skipSubnets": doc("Networks whose connections pass on their way in"),
  "proxyInit.logLevel": doc("Log level of the init container"),
  "proxyInit.logFormat": doc("Format of its log", ["plain", "json"]),
  "proxyInit.runAsUser": doc("User of the init container"),
  "proxyInit.runAsGroup": doc("Group of the init container"),
  "proxyInit.runAsRoot": doc("The init container runs as root"),
  "proxyInit.privileged": doc("The init container is privileged"),
  "proxyInit.closeWaitTimeoutSecs": doc(
    "conntrack's close-wait time-out; needs runAsRoot; 0: the kernel's",
  ),
  "networkValidator.logLevel": doc("Log level of the validator"),
  "networkValidator.logFormat": doc("Format of its log", ["plain", "json"]),
  "networkValidator.timeout": doc("After which there are no rules"),
  "networkValidator.connectAddr": doc("Where it connects to; empty: what fits the address family"),
  "networkValidator.listenAddr": doc("Where it waits for its own connection"),
  "debugContainer.image": doc("Image of the debug container"),
  "controllerImage.name": doc("Image of the control plane"),
  "controllerImage.version": doc("Its tag"),
  "controllerImage.pullPolicy": doc("When it is pulled", PULL),
  "controllerReplicas": doc("Pods of each Deployment of the control plane"),
  "controllerUID": doc("User of the control plane"),
  "controllerGID": doc("Its group; -1: the image's"),
  "controllerLogLevel": doc("Its log level", ["trace", "debug", "info", "warn", "error", "off"]),
  "controllerLogFormat": doc("Format of its log", ["plain", "json"]),
  "controllerResources": doc("Requests and limits of each container of the control plane"),
  "highAvailability": doc("Set by --ha"),
  "enablePodAntiAffinity": doc("No two pods of a Deployment on one node"),
  "enablePodDisruptionBudget": doc("At most one pod of a Deployment is away on purpose"),
  "enableTopologySpread": doc("Pods of a Deployment are spread over zones"),
  "priorityClassName": doc("Priority of the control plane's pods"),
  "webhookFailurePolicy": doc("What happens to an object when its webhook does not answer", [
    "Ignore",
    "Fail",
  ]),
  "identityTrustAnchorsPEM": doc("Trust anchors; empty: made"),
  "identity.externalCA": doc("The ConfigMap of trust anchors is somebody else's"),
  "identity.issuer.scheme": doc("Type of the issuer's Secret", [
    "linkerd.io/tls",
    "kubernetes.io/tls",
  ]),
  "identity.issuer.clockSkewAllowance": doc("How far clocks may differ"),
  "identity.issuer.issuanceLifetime": doc("Lifetime of a proxy's certificate"),
  "identity.issuer.crtPEM": doc("The issuer's certificate; empty: made"),
  "identity.issuer.keyPEM": doc("The issuer's key; empty: made"),
  "proxyInjector.crtPEM": doc("The webhook's certificate; empty: made"),
  "proxyInjector.keyPEM": doc("The webhook's key; empty: made"),
  "proxyInjector.caBundle": doc("What the API server trusts; empty: the certificate"),
  "proxyInjector.injectCaFrom": doc("Certificate of cert-manager that has the CA: namespace/name"),
  "proxyInjector.externalSecret": doc(
    "The webhook's Secret is somebody else's; needs caBundle or injectCaFrom",
  ),
  "proxyInjector.timeoutSeconds": doc("How long the API server waits for the webhook"),
  "profileValidator": doc("Certificate of the webhook for ServiceProfiles, as proxyInjector's"),
  "policyValidator": doc(
    "Certificate of the webhook for policies, routes and filters, as proxyInjector's",
  ),
  "policyController.probeNetworks": doc(
    "From where probes of the kubelet are answered, whatever the policy of the port",
  ),
  "egress.globalEgressNetworkNamespace": doc(
    "Namespace of EgressNetworks for clients of every namespace that has none of its own",
  ),
  "networkPolicy.enabled": doc(
    "NetworkPolicies that let only what is needed reach the control plane",
  ),
  "serviceMonitor.enabled": doc("A ServiceMonitor and a PodMonitor for the Prometheus operator"),
  "serviceMonitor.interval": doc("How often they scrape"),
  "cni.namespace": doc("Namespace of the CNI plugin"),
  "cni.destCNINetDir": doc("The host's folder of CNI configuration"),
  "cni.destCNIBinDir": doc("The host's folder of CNI plugins"),
  "cni.portsToRedirect": doc("Only these arriving ports are redirected"),
  "cni.logLevel": doc("Log level of the plugin"),
  "cni.useWaitFlag": doc("iptables waits for its lock"),
  "cni.priorityClassName": doc("Priority of the plugin's pods"),
  "cni.image": doc("The image with the plugin's executable"),
  "cni.onExit": doc("What a stopped installer does with the host's files", ["remove", "keep"]),
  "cni.privileged": doc("The installer is privileged, for hosts whose folders SELinux guards"),
  "cni.repairController.enabled": doc("Delete pods that started before the plugin"),
};

/** Names that mean the same value, as Linkerd's chart has them. */
export const VALUE_ALIASES: Readonly<Record<string, string>> = {
  "proxyInit.iptablesMode": "proxyInit.mode",
  "linkerdNamespace": "controlPlaneNamespace",
  "proxy.cores": "proxy.workers.minimum",
};
