// Servers (policy.linkerd.io): which ports of which pods speak what, and what happens without an
// authorization.

import { DEFAULT_POLICIES, type DefaultPolicy } from "../options.ts";
import type { Resource } from "../resource.ts";
import type { ServerPolicy } from "../../model/policy.ts";
import { readSelector, type Selector } from "./selector.ts";

export interface ServerRow {
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly pods: Selector;
  readonly port: number | string;
  readonly protocol: ServerPolicy["protocol"];
  /** Who is let in besides what authorizations say. */
  readonly accessPolicy: DefaultPolicy;
}

const PROTOCOLS: Readonly<Record<string, ServerPolicy["protocol"]>> = {
  "unknown": "detect",
  "HTTP/1": "http1",
  "HTTP/2": "http2",
  "gRPC": "grpc",
  "opaque": "opaque",
  "TLS": "tls",
};

/** Null: it selects external workloads, which a folder does not have. */
export function serverRow(r: Resource): ServerRow | null {
  const spec = r.body.at("spec");
  if (spec.at("podSelector").isAbsent) {
    if (spec.at("externalWorkloadSelector").isAbsent) spec.at("podSelector").fail("is missing");
    return null;
  }
  const protocol = spec.at("proxyProtocol");
  const access = spec.at("accessPolicy");
  return {
    namespace: r.namespace,
    name: r.name,
    createdMs: r.createdMs,
    labels: r.labels,
    pods: readSelector(spec.at("podSelector")),
    port: spec.at("port").port(),
    protocol: protocol.isAbsent
      ? "detect"
      : PROTOCOLS[protocol.oneOf(Object.keys(PROTOCOLS))] ?? "detect",
    accessPolicy: access.isAbsent ? "deny" : access.oneOf(DEFAULT_POLICIES),
  };
}
