// The environment of the proxy container, in Linkerd's order: a proxy of either kind reads it.

import { parsePorts } from "../ports.ts";
import type { EnvVar, InjectorValues } from "./values.ts";

/** What the environment depends on besides the values. */
export interface ProxyPlace {
  /** PEM; ignored where `anchorsFromConfigMap`. */
  readonly anchorsPem: string;
  /** Ports whose policy is watched from the start. */
  readonly inboundPorts: readonly number[];
  /** Opaque ports as the pod's annotation has them. */
  readonly opaquePorts: string;
  /** Which service of the control plane runs beside it, and is reached on loopback. */
  readonly beside: "destination" | "identity" | null;
  /** The control plane's own pods read the anchors from the ConfigMap. */
  readonly anchorsFromConfigMap: boolean;
}

/** For `env` of the container. */
export function proxyEnv(v: InjectorValues, place: ProxyPlace): EnvVar[] {
  const { proxy, controlPlaneNamespace: ns, clusterDomain: domain, identityTrustDomain: trust } = v;
  const svc = (name: string, port: number, beside: boolean) =>
    beside ? `localhost.:${port}` : `${name}.${ns}.svc.${domain}.:${port}`;
  const id = (account: string) => `${account}.${ns}.serviceaccount.identity.${ns}.${trust}`;
  const any = v.disableIPv6 ? "0.0.0.0" : "[::]";
  const destination = place.beside === "destination";
  const log = proxy.logHTTPHeaders === "insecure"
    ? proxy.logLevel
    : `${proxy.logLevel},[{headers}]=off,[{request}]=off`;
  const suffix = `svc.${domain}.`;
  const variables: (EnvVar | null)[] = [
    fieldRef("_pod_name", "metadata.name"),
    fieldRef("_pod_ns", "metadata.namespace"),
    fieldRef("_pod_uid", "metadata.uid"),
    fieldRef("_pod_ip", "status.podIP"),
    fieldRef("_pod_nodeName", "spec.nodeName"),
    text("_pod_containerName", "linkerd-proxy"),
    text(l5d("CORES"), `${proxy.workers.minimum}`),
    text(l5d("CORES_MIN"), `${proxy.workers.minimum}`),
    proxy.workers.maximum > 0 ? text(l5d("CORES_MAX"), `${proxy.workers.maximum}`) : null,
    proxy.workers.maximumCPURatio > 0
      ? text(l5d("CORES_MAX_RATIO"), `${proxy.workers.maximumCPURatio}`)
      : null,
    given(l5d("INBOUND_PORTS_REQUIRE_IDENTITY"), proxy.requireIdentityOnInboundPorts),
    text(l5d("SHUTDOWN_ENDPOINT_ENABLED"), `${proxy.enableShutdownEndpoint}`),
    text(l5d("LOG"), log),
    text(l5d("LOG_FORMAT"), proxy.logFormat),
    text(l5d("DESTINATION_SVC_ADDR"), svc("linkerd-dst-headless", 8086, destination)),
    text(l5d("DESTINATION_PROFILE_NETWORKS"), v.clusterNetworks),
    text(l5d("POLICY_SVC_ADDR"), svc("linkerd-policy", 8090, destination)),
    text(l5d("POLICY_WORKLOAD"), '{"ns":"$(_pod_ns)", "pod":"$(_pod_name)"}\n'),
    text(l5d("INBOUND_DEFAULT_POLICY"), proxy.defaultInboundPolicy),
    text(l5d("POLICY_CLUSTER_NETWORKS"), v.clusterNetworks),
    text(l5d("CONTROL_STREAM_INITIAL_TIMEOUT"), proxy.controlStreams.initialTimeout),
    text(l5d("CONTROL_STREAM_IDLE_TIMEOUT"), proxy.controlStreams.idleTimeout),
    text(l5d("CONTROL_STREAM_LIFETIME"), proxy.controlStreams.lifetime),
    text(l5d("INBOUND_CONNECT_TIMEOUT"), proxy.inboundConnectTimeout),
    text(l5d("OUTBOUND_CONNECT_TIMEOUT"), proxy.outboundConnectTimeout),
    text(l5d("OUTBOUND_DISCOVERY_IDLE_TIMEOUT"), proxy.outboundDiscoveryCacheUnusedTimeout),
    text(l5d("INBOUND_DISCOVERY_IDLE_TIMEOUT"), proxy.inboundDiscoveryCacheUnusedTimeout),
    proxy.disableOutboundProtocolDetectTimeout
      ? text(l5d("OUTBOUND_DETECT_TIMEOUT"), "365d")
      : null,
    proxy.disableInboundProtocolDetectTimeout ? text(l5d("INBOUND_DETECT_TIMEOUT"), "365d") : null,
    text(l5d("CONTROL_LISTEN_ADDR"), `${any}:${proxy.ports.control}`),
    text(l5d("ADMIN_LISTEN_ADDR"), `${any}:${proxy.ports.admin}`),
    text(l5d("OUTBOUND_LISTEN_ADDR"), `127.0.0.1:${proxy.ports.outbound}`),
    text(
      l5d("OUTBOUND_LISTEN_ADDRS"),
      `127.0.0.1:${proxy.ports.outbound}${v.disableIPv6 ? "" : `,[::1]:${proxy.ports.outbound}`}`,
    ),
    text(l5d("INBOUND_LISTEN_ADDR"), `${any}:${proxy.ports.inbound}`),
    fieldRef(l5d("INBOUND_IPS"), "status.podIPs"),
    text(l5d("INBOUND_PORTS"), place.inboundPorts.join(",")),
    proxy.isGateway ? text(l5d("INBOUND_GATEWAY_SUFFIXES"), suffix) : null,
    proxy.isIngress ? text(l5d("INGRESS_MODE"), "true") : null,
    text(l5d("DESTINATION_PROFILE_SUFFIXES"), proxy.enableExternalProfiles ? "." : suffix),
    text(l5d("INBOUND_ACCEPT_KEEPALIVE"), "10000ms"),
    text(l5d("OUTBOUND_CONNECT_KEEPALIVE"), "10000ms"),
    text(l5d("INBOUND_ACCEPT_USER_TIMEOUT"), "30s"),
    text(l5d("OUTBOUND_CONNECT_USER_TIMEOUT"), "30s"),
    text(l5d("OUTBOUND_METRICS_HOSTNAME_LABELS"), `${proxy.metricsHostnameLabels}`),
    text(l5d("INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL"), "10s"),
    text(l5d("INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT"), "3s"),
    text(l5d("OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL"), "10s"),
    text(l5d("OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT"), "3s"),
    text(l5d("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION"), numbersOnly(place.opaquePorts)),
    text(
      l5d("DESTINATION_CONTEXT"),
      '{"ns":"$(_pod_ns)", "nodeName":"$(_pod_nodeName)", "pod":"$(_pod_name)"}\n',
    ),
    fieldRef("_pod_sa", "spec.serviceAccountName"),
    text("_l5d_ns", ns),
    text("_l5d_trustdomain", trust),
    text(l5d("IDENTITY_DIR"), IDENTITY_DIR),
    place.anchorsFromConfigMap
      ? {
        name: l5d("IDENTITY_TRUST_ANCHORS"),
        valueFrom: {
          configMapKeyRef: { name: "linkerd-identity-trust-roots", key: "ca-bundle.crt" },
        },
      }
      : text(l5d("IDENTITY_TRUST_ANCHORS"), place.anchorsPem),
    text(l5d("IDENTITY_TOKEN_FILE"), `${TOKEN_DIR}/linkerd-identity-token`),
    text(
      l5d("IDENTITY_SVC_ADDR"),
      svc("linkerd-identity-headless", 8080, place.beside === "identity"),
    ),
    text(
      l5d("IDENTITY_LOCAL_NAME"),
      `$(_pod_sa).$(_pod_ns).serviceaccount.identity.${ns}.${trust}`,
    ),
    text(l5d("IDENTITY_SVC_NAME"), id("linkerd-identity")),
    text(l5d("DESTINATION_SVC_NAME"), id("linkerd-destination")),
    text(l5d("POLICY_SVC_NAME"), id("linkerd-destination")),
    given(l5d("ACCESS_LOG"), proxy.accessLog),
    given(l5d("SHUTDOWN_GRACE_PERIOD"), proxy.shutdownGracePeriod),
    // read by our proxy only
    text("TULLE_PROXY_CLUSTER_DOMAIN", domain),
    ...proxy.additionalEnv,
  ];
  return variables.filter((variable) => variable !== null);
}

/** Where the proxy keeps its key and request: a folder in memory. */
export const IDENTITY_DIR = "/var/run/linkerd/identity/end-entity";
/** Where its projected token is. */
export const TOKEN_DIR = "/var/run/secrets/tokens";

function l5d(name: string): string {
  return `LINKERD2_PROXY_${name}`;
}

function text(name: string, value: string): EnvVar {
  return { name, value };
}

function given(name: string, value: string): EnvVar | null {
  return value === "" ? null : { name, value };
}

function fieldRef(name: string, fieldPath: string): EnvVar {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** A proxy takes no names of ports here, and one that it is given would stop it. */
function numbersOnly(ports: string): string {
  return parsePorts(ports).ranges
    .map(([from, to]) => from === to ? `${from}` : `${from}-${to}`).join(",");
}
