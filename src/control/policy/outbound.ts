// The join behind the outbound `Watch`: where traffic to an address or a name goes.

import { defaultOrigin } from "../../api/origin.ts";
import { MATCH_ALL } from "../../api/http-match.ts";
import type { SocketAddr } from "../../core/addr.ts";
import { inCidr } from "../../model/policy.ts";
import type { ClientPolicy } from "../../model/profile.ts";
import { fullName, type ServiceTarget } from "../destination/authority.ts";
import { podAt } from "../destination/endpoints.ts";
import type { Reads } from "../join.ts";
import type { ServiceRow } from "../kinds/service.ts";
import type { Mesh } from "../mesh.ts";
import { isOpaqueOnService } from "../opaque.ts";
import { keyOf } from "../resource.ts";
import { egressNetworkFor, egressPolicy, forwardTo } from "./egress.ts";
import {
  BYTE_KINDS,
  HTTP1_KINDS,
  HTTP2_KINDS,
  outboundRoutes,
  protocolWith,
} from "./outbound-routes.ts";

export type OutboundTarget =
  | { readonly kind: "address"; readonly addr: SocketAddr }
  | { readonly kind: "service"; readonly service: ServiceTarget };

export type PolicyAnswer =
  /** `h2c`: the service says that it speaks HTTP/2 only. */
  | { readonly kind: "policy"; readonly policy: ClientPolicy; readonly h2c: boolean }
  /** No service: the proxy asks for the endpoint's profile instead. */
  | { readonly kind: "none" };

/** `source` is the namespace of the client: routes and egress networks of it are for nobody else. */
export function clientPolicyOf(
  mesh: Mesh,
  reads: Reads,
  target: OutboundTarget,
  source: string,
): PolicyAnswer {
  reads.namespaces.add(source);
  if (target.kind === "service") {
    reads.namespaces.add(target.service.namespace);
    const service = mesh.cluster.services.get(keyOf(target.service));
    // A service that does not exist (yet) has the policy that it would have by default.
    return ofService(mesh, reads, service, target.service, source);
  }
  const { addr } = target;
  const [service] = mesh.cluster.services.group(`ip ${addr.ip}`);
  if (service === undefined) {
    // Anything may have it next: a Service, a pod, an egress network.
    reads.everything = true;
    return ofAddress(mesh, reads, addr, source);
  }
  const { namespace, name } = service;
  reads.namespaces.add(namespace);
  if (!service.ports.some((p) => p.port === addr.port)) {
    return undefinedPort(mesh, service, addr.port);
  }
  const of = { namespace, name, hostname: "", port: addr.port };
  return ofService(mesh, reads, service, of, source);
}

function base(mesh: Mesh): Pick<ClientPolicy, "defaultRttMs" | "decayMs"> {
  return { defaultRttMs: mesh.options.defaultRttMs, decayMs: mesh.options.decayMs };
}

function ofService(
  mesh: Mesh,
  reads: Reads,
  service: ServiceRow | null,
  target: ServiceTarget,
  source: string,
): PolicyAnswer {
  const { namespace, name, port } = target;
  const appProtocol = service?.ports.find((p) => p.port === port)?.appProtocol ?? "";
  const protocol = protocolOf(mesh, reads, service, port, appProtocol);
  const filters = mesh.filters.refs({ kind: "Service", namespace, name }, null);
  const limits = service?.traffic.limits ?? null;
  const parent = { kind: "Service" as const, namespace, name, port };
  const traffic = service?.traffic ?? null;
  const kinds = protocol === "opaque"
    ? BYTE_KINDS
    : protocol === "detect"
    ? undefined
    : appProtocol === "http"
    ? HTTP1_KINDS
    : HTTP2_KINDS;
  const attached = outboundRoutes(mesh, reads, { ...parent, traffic }, source, kinds);
  return {
    kind: "policy",
    h2c: appProtocol === "kubernetes.io/h2c",
    policy: {
      ...base(mesh),
      origin: { group: "core", kind: "Service", namespace, name, port },
      protocol: protocolWith(attached, protocol),
      ...(attached === null ? {} : { attached }),
      routes: protocol === "opaque" ? [] : [{
        name: "http",
        match: MATCH_ALL,
        responseClasses: [],
        labels: {},
        retry: service?.traffic.retry ?? null,
        timeoutMs: 0,
        ...(limits === null ? {} : { limits }),
        filters,
      }],
      accrual: protocol === "opaque" ? null : service?.accrual ?? null,
      hash: service?.hash ?? null,
      destination: `${fullName(target, mesh.options.clusterDomain)}:${port}`,
      forward: null,
    },
  };
}

/** `appProtocol` says more than a list of ports; one that is not known is bytes. */
function protocolOf(
  mesh: Mesh,
  reads: Reads,
  service: ServiceRow | null,
  port: number,
  appProtocol: string,
): ClientPolicy["protocol"] {
  if (appProtocol === "http" || appProtocol === "kubernetes.io/h2c") return "http";
  if (appProtocol !== "") return "opaque";
  return service !== null && isOpaqueOnService(mesh, reads, service, port) ? "opaque" : "detect";
}

/** An address that no Service has. */
function ofAddress(mesh: Mesh, reads: Reads, addr: SocketAddr, source: string): PolicyAnswer {
  // A pod is never outside, whatever a network says.
  if (podAt(mesh, addr.ip) !== null) return { kind: "none" };
  const network = egressNetworkFor(mesh, source, addr.ip);
  if (network !== null) {
    return { kind: "policy", h2c: false, policy: egressPolicy(mesh, reads, network, addr, source) };
  }
  if (mesh.options.clusterNetworks.some((cidr) => inCidr(addr.ip, cidr))) return { kind: "none" };
  return {
    kind: "policy",
    h2c: false,
    policy: {
      ...base(mesh),
      origin: defaultOrigin("egress-fallback"),
      protocol: "detect",
      routes: [{
        name: "egress-fallback",
        match: MATCH_ALL,
        responseClasses: [],
        labels: {},
        retry: null,
        timeoutMs: 0,
        filters: [],
      }],
      accrual: null,
      destination: "",
      forward: forwardTo(addr),
    },
  };
}

/** A Service's address at a port that the Service does not have: nothing goes there. */
function undefinedPort(
  mesh: Mesh,
  { namespace, name }: ServiceRow,
  port: number,
): PolicyAnswer {
  return {
    kind: "policy",
    h2c: false,
    policy: {
      ...base(mesh),
      origin: { group: "core", kind: "Service", namespace, name, port },
      protocol: "opaque",
      routes: [],
      accrual: null,
      destination: "",
      forward: null,
    },
  };
}
