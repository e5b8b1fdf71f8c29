// What clients are told of addresses outside of the cluster: the EgressNetwork that covers one, and the
// policy that it gives. Linkerd's rules of selection.

import { egressRouteName } from "../../api/egress-routes.ts";
import { MATCH_ALL } from "../../api/http-match.ts";
import type { SocketAddr } from "../../core/addr.ts";
import { isIpv6 } from "../../core/addr.ts";
import { inCidr, type Network } from "../../model/policy.ts";
import type { ClientPolicy } from "../../model/profile.ts";
import type { Reads } from "../join.ts";
import { type EgressNetworkRow, EVERYWHERE } from "../kinds/egress-network.ts";
import type { Mesh } from "../mesh.ts";
import { hasPort } from "../ports.ts";
import { byAge } from "../resource.ts";
import { BYTE_KINDS, outboundRoutes, protocolWith } from "./outbound-routes.ts";

/**
 * The network that covers an address for clients of the namespace `source`; null: none does. Those of the
 * client's own namespace count alone, where it has any, else those of the global one. Of several the one
 * whose network is the smallest, then the oldest, then the first by name.
 */
export function egressNetworkFor(
  { cluster, options }: Mesh,
  source: string,
  ip: string,
): EgressNetworkRow | null {
  const own = [...cluster.egressNetworks.group(`namespace ${source}`)];
  const among = own.length > 0
    ? own
    : [...cluster.egressNetworks.group(`namespace ${options.egressNamespace}`)];
  let best: EgressNetworkRow | null = null;
  let bestSize = 0n;
  for (const row of among) {
    const size = coveredSize(row, ip, options.clusterNetworks);
    if (size === null) continue;
    if (best === null || size < bestSize || (size === bestSize && byAge(row, best) < 0)) {
      best = row;
      bestSize = size;
    }
  }
  return best;
}

/** Of the smallest network that has the address, how many addresses it has; null: none has it. */
function coveredSize(
  { networks }: EgressNetworkRow,
  ip: string,
  clusterNetworks: readonly string[],
): bigint | null {
  const sizes = (networks ?? outside(clusterNetworks))
    .filter((n) => inCidr(ip, n.cidr) && !n.except.some((e) => inCidr(ip, e)))
    .map((n) => n.except.reduce((left, e) => left - sizeOf(e), sizeOf(n.cidr)));
  return sizes.reduce<bigint | null>((a, b) => a === null || b < a ? b : a, null);
}

/** What is not the cluster's. */
function outside(clusterNetworks: readonly string[]): readonly Network[] {
  return EVERYWHERE.map((cidr) => ({
    cidr,
    except: clusterNetworks.filter((c) => c.includes(":") === cidr.includes(":")),
  }));
}

function sizeOf(cidr: string): bigint {
  const [ip = "", bits] = cidr.split("/");
  const width = isIpv6(ip) ? 128 : 32;
  return 1n << BigInt(width - Number(bits ?? width));
}

/** The policy of an address that the network covers, for clients of the namespace `source`. */
export function egressPolicy(
  mesh: Mesh,
  reads: Reads,
  row: EgressNetworkRow,
  addr: SocketAddr,
  source: string,
): ClientPolicy {
  const { namespace, name, traffic, trafficPolicy } = row;
  const { options } = mesh;
  const parent = { kind: "EgressNetwork" as const, namespace, name, port: addr.port };
  const isOpaque = hasPort(row.opaquePorts ?? options.opaquePorts, addr.port, {});
  const attached = outboundRoutes(
    mesh,
    reads,
    { ...parent, traffic },
    source,
    isOpaque ? BYTE_KINDS : undefined,
  );
  const isGrpc = attached?.kind === "grpc";
  return {
    defaultRttMs: options.defaultRttMs,
    decayMs: options.decayMs,
    origin: { group: "policy.linkerd.io", ...parent },
    protocol: protocolWith(attached, isOpaque ? "opaque" : "detect"),
    egress: trafficPolicy,
    ...(attached === null ? {} : { attached }),
    routes: isOpaque ? [] : [{
      name: egressRouteName(isGrpc ? "grpc" : "http", trafficPolicy),
      match: MATCH_ALL,
      responseClasses: [],
      labels: {},
      retry: isGrpc ? traffic.grpcRetry : traffic.retry,
      timeoutMs: 0,
      ...(traffic.limits === null ? {} : { limits: traffic.limits }),
      filters: mesh.filters.refs({ kind: "EgressNetwork", namespace, name }, null),
    }],
    accrual: isOpaque ? null : row.accrual,
    destination: "",
    forward: forwardTo(addr),
  };
}

/** An address as it is, with nothing known of it. */
export function forwardTo(addr: SocketAddr): NonNullable<ClientPolicy["forward"]> {
  return {
    addr,
    weight: 10_000,
    labels: {},
    identity: null,
    transportPort: 0,
    hint: "none",
  };
}
