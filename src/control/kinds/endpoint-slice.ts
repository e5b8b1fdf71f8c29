// EndpointSlices (discovery.k8s.io/v1): addresses behind a Service.

import { isIpv4, isIpv6, normalizeIp } from "../../core/addr.ts";
import type { Resource } from "../resource.ts";

export interface EndpointSliceRow {
  readonly namespace: string;
  readonly name: string;
  /** The Service's name. */
  readonly service: string;
  /** By name (empty when it has none). */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly endpoints: readonly SliceEndpoint[];
}

export interface SliceEndpoint {
  readonly ip: string;
  readonly ready: boolean;
  /** `namespace/name` of its Pod, or empty. */
  readonly pod: string;
  readonly hostname: string;
  readonly node: string;
  readonly zone: string;
}

/** Null: it belongs to no Service, or holds names instead of addresses. */
export function endpointSliceRow(r: Resource): EndpointSliceRow | null {
  const service = r.labels["kubernetes.io/service-name"];
  if (service === undefined || r.body.at("addressType").stringOr("IPv4") === "FQDN") return null;
  return {
    namespace: r.namespace,
    name: r.name,
    service,
    ports: r.body.at("ports").list(1024).filter((p) => !p.at("port").isAbsent).map((p) => ({
      name: p.at("name").stringOr(""),
      port: p.at("port").int(1, 65535),
    })),
    endpoints: r.body.at("endpoints").list(1000).flatMap((e) => {
      const target = e.at("targetRef");
      const pod = target.at("kind").stringOr("") === "Pod"
        ? `${target.at("namespace").stringOr(r.namespace)}/${target.at("name").string()}`
        : "";
      return e.at("addresses").list(100).map((a): SliceEndpoint => {
        const ip = a.string();
        if (!isIpv4(ip) && !isIpv6(ip)) a.fail(`is ${JSON.stringify(ip)}, not an IP address`);
        return {
          ip: normalizeIp(ip),
          // Absent means ready, as Kubernetes defines it.
          ready: e.at("conditions").at("ready").boolOr(true),
          pod,
          hostname: e.at("hostname").stringOr(""),
          node: e.at("nodeName").stringOr(""),
          zone: e.at("zone").stringOr(""),
        };
      });
    }),
  };
}
