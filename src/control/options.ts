// What is true of a whole mesh and set once, when the control plane starts.

import { DEFAULT_OPAQUE_PORTS, type PortSet } from "./ports.ts";

/** Names of the policies that a port has where no Server selects it. */
export const DEFAULT_POLICIES = [
  "all-unauthenticated",
  "all-authenticated",
  "cluster-unauthenticated",
  "cluster-authenticated",
  "deny",
  "audit",
] as const;
export type DefaultPolicy = (typeof DEFAULT_POLICIES)[number];

export interface MeshOptions {
  readonly clusterDomain: string;
  /** The namespace of the control plane: part of every identity, and the mark of meshed pods. */
  readonly controlNamespace: string;
  readonly trustDomain: string;
  readonly clusterNetworks: readonly string[];
  /** From where the kubelet asks pods how they are: whoever may use a port, its probes are answered. */
  readonly probeNetworks: readonly string[];
  /** The namespace whose EgressNetworks are for clients of every namespace that has none of its own. */
  readonly egressNamespace: string;
  readonly defaultInboundPolicy: DefaultPolicy;
  readonly opaquePorts: PortSet;
  /** Where proxies accept connections with a transport header, unless their pod says otherwise. */
  readonly inboundPort: number;
  /** Ports of the proxy itself: traffic to them has no transport header. */
  readonly proxyPorts: readonly number[];
  /** Of a proxy's admin server, which speaks in clear text: nobody claims an identity for it. */
  readonly adminPort: number;
  /** Whether HTTP/1 between proxies may be carried over HTTP/2. */
  readonly h2Upgrade: boolean;
  readonly detectMs: number;
  readonly defaultRttMs: number;
  readonly decayMs: number;
}

export const DEFAULT_OPTIONS: MeshOptions = {
  clusterDomain: "cluster.local",
  controlNamespace: "linkerd",
  trustDomain: "cluster.local",
  clusterNetworks: [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fd00::/8",
  ],
  probeNetworks: ["0.0.0.0/0", "::/0"],
  egressNamespace: "linkerd-egress",
  defaultInboundPolicy: "all-unauthenticated",
  opaquePorts: DEFAULT_OPAQUE_PORTS,
  inboundPort: 4143,
  proxyPorts: [4143, 4190, 4191],
  adminPort: 4191,
  h2Upgrade: true,
  detectMs: 10_000,
  defaultRttMs: 30,
  decayMs: 10_000,
};
