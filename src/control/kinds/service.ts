// Services (core/v1): names and addresses that clients use.

import { isIpv4, isIpv6, normalizeIp } from "../../core/addr.ts";
import type { FailureAccrual } from "../../model/accrual.ts";
import type { HashKey } from "../../model/hash-key.ts";
import { accrualOf } from "./accrual.ts";
import { hashOf } from "./hash-key.ts";
import { type Traffic, trafficOf } from "./traffic.ts";
import { parsePorts, type PortSet } from "../ports.ts";
import type { Resource } from "../resource.ts";

export interface ServiceRow {
  readonly namespace: string;
  readonly name: string;
  /** None for a headless Service. */
  readonly ips: readonly string[];
  /** It says that it has no address (`None`), which is more than not to say one. */
  readonly headless: boolean;
  /** The name that it stands for; empty for all but `ExternalName`. */
  readonly externalName: string;
  /** Null: endpoints come from EndpointSlices only. */
  readonly selector: Readonly<Record<string, string>> | null;
  readonly ports: readonly ServicePort[];
  /** From the annotation; null: it has none. */
  readonly opaquePorts: PortSet | null;
  /** When clients eject endpoints; null: never. */
  readonly accrual: FailureAccrual | null;
  /** Which requests clients send to the same endpoint; null: they choose by load. */
  readonly hash: HashKey | null;
  /** What clients do with requests on the default route. */
  readonly traffic: Traffic;
  /** Whether clients may use only endpoints of their own node. */
  readonly local: boolean;
}

export interface ServicePort {
  /** Empty when it has none. */
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a container port. */
  readonly target: number | string;
  readonly appProtocol: string;
}

export const OPAQUE_PORTS = "config.linkerd.io/opaque-ports";

export function serviceRow(r: Resource): ServiceRow {
  const spec = r.body.at("spec");
  const annotations = r.body.at("metadata").at("annotations");
  const type = spec.at("type").stringOr("ClusterIP");
  const listed = spec.at("clusterIPs").list(2);
  const fields = listed.length > 0 ? listed : [spec.at("clusterIP")];
  const opaque = r.annotations[OPAQUE_PORTS];
  const selector = spec.at("selector").strings();
  return {
    namespace: r.namespace,
    name: r.name,
    ips: fields.filter((f) => !f.isAbsent && f.value !== "" && f.value !== "None").map((f) => {
      const ip = f.string();
      if (!isIpv4(ip) && !isIpv6(ip)) f.fail(`is ${JSON.stringify(ip)}, not an IP address`);
      return normalizeIp(ip);
    }),
    headless: fields.some((f) => f.value === "None"),
    externalName: type === "ExternalName" ? spec.at("externalName").string() : "",
    selector: Object.keys(selector).length === 0 ? null : selector,
    ports: spec.at("ports").list(1024).map((p) => {
      const port = p.at("port").int(1, 65535);
      const target = p.at("targetPort");
      return {
        name: p.at("name").stringOr(""),
        port,
        target: target.isAbsent || target.value === 0 ? port : target.port(),
        appProtocol: p.at("appProtocol").stringOr(""),
      };
    }),
    opaquePorts: opaque === undefined ? null : parsePorts(opaque),
    accrual: accrualOf(annotations),
    hash: hashOf(annotations),
    traffic: trafficOf(annotations),
    local: spec.at("internalTrafficPolicy").stringOr("Cluster") === "Local",
  };
}
